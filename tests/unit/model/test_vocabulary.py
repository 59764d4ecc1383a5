import json
from pathlib import Path

import pytest

from sdar.errors import ConfigError
from sdar.model.vocabulary import check_vocabulary

ADDED = [{"id": 4, "content": "<tool>"}]


@pytest.mark.parametrize("shape", [{"vocab_size": 4}, {"text_config": {"vocab_size": 4}, "vocab_size": 9}])
@pytest.mark.parametrize("vocab", [{"a": 0, "b": 3}, [["a", -1.0], ["b", -2.0]]])
def test_a_tokenizer_that_is_larger_than_its_model_is_named(
    shape: object, vocab: object, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(shape))
    check_vocabulary(tmp_path)
    tokenizer = {"model": {"vocab": vocab}, "added_tokens": []}
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    check_vocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer | {"added_tokens": ADDED}))
    with pytest.raises(
        ConfigError, match="more tokens than the model: '<tool>' is 4, and the model has 4: resize"
    ):
        check_vocabulary(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ConfigError, match=r"tokenizer\.json is damaged"):
        check_vocabulary(tmp_path)
