"""A training run, from its settings to its directory."""

from contextlib import ExitStack
from pathlib import Path

from sdar.build.card import model_card
from sdar.build.checks import check_whole_vocabulary
from sdar.build.engine import make_author, make_engine
from sdar.build.evaluate import play_panel
from sdar.build.learner import make_learner
from sdar.build.prompts import check_prompts, teacher_views
from sdar.build.skills import needs_skills, skill_context
from sdar.build.stage import Watcher, stage
from sdar.build.warm_start import start_model
from sdar.envs.base import envs
from sdar.evaluation.curves import draw_learning_curve
from sdar.model.chat import Chat
from sdar.model.load import compute_dtype, load_tokenizer, shape_of
from sdar.model.settings import EMBEDDED
from sdar.objectives.base import objectives
from sdar.recipe import RunConfig
from sdar.rollout.collector import Collector
from sdar.rollout.writing import Writing
from sdar.runs.rundir import RunDir
from sdar.settings.config import to_toml
from sdar.skills.retrieval import retrievals
from sdar.text.records import left_out
from sdar.trainer.checkpoint import Checkpoints, step_of
from sdar.trainer.distributed import World
from sdar.trainer.loop import Progress, Trainer
from sdar.trainer.lost import losses
from sdar.trainer.weight_sync import export_model


def train(config: RunConfig, resume: RunDir | None = None) -> tuple[RunDir, int]:
    """Do a run, or what is left of one; its directory and the number of steps done (collective).

    Fewer steps than `config.train.steps` mean that the user asked to stop.
    """
    with stage(config) as (world, shown), ExitStack() as held:
        if resume is not None and world.is_main:
            held.enter_context(resume.hold())
        start = start_model(config, world, shown)
        run = claim_run(config, world, resume)
        if resume is None and world.is_main:
            held.enter_context(run.hold())
        shown.message(header(config, run))
        watcher = Watcher(shown, config, run, world, start.name)
        held.callback(watcher.close)
        with losses(world, f"go on with: sdar train --resume {run.path}"):
            trainer = build(config, start, run, world, watcher)
            shown.message(size(trainer))
            done = trainer.train()
        if world.is_main:
            draw_learning_curve(run)
    return run, done


def header(config: RunConfig, run: RunDir) -> str:
    """What is about to happen, and where it goes."""
    rollout, panel = config.rollout, config.panel
    objective, env = objectives.name_of(type(config.objective)), envs.name_of(type(config.env))
    played = f"{len(panel.tasks)} tasks of panel {panel.name}" if config.eval.is_on else "no panel"
    unused = sum(left_out().values())
    noted = f", {unused} records left out (see segments.jsonl)" if unused else ""
    return (
        f"{run.path}: {objective} on {env}, model {config.pretrained or EMBEDDED}, "
        f"{config.train.steps} steps of {rollout.tasks_per_step} tasks x {rollout.group_size} episodes, "
        f"{played}, seed {config.train.seed}{noted}"
    )


def size(trainer: Trainer) -> str:
    """How much is learned."""
    parameters = list(trainer.learner.policy.parameters())
    total = sum(parameter.numel() for parameter in parameters)
    trained = sum(parameter.numel() for parameter in parameters if parameter.requires_grad)
    share = "all of them" if trained == total else f"{trained:,} of them"
    return f"{total:,} parameters; {share} are trained"


def claim_run(config: RunConfig, world: World, resume: RunDir | None) -> RunDir:
    """The run directory, on every rank: the one to resume, or a new one."""
    if resume is not None:
        return resume
    made = []
    if world.is_main:
        made = [RunDir.create(config.out, config.run_name, to_toml(config), exact=bool(config.name))]
    return next(run for shared in world.gather(made) for run in shared)


def build(config: RunConfig, start: Path, run: RunDir, world: World, progress: Progress) -> Trainer:
    """All parts of a run whose policy starts from the model in `start` (collective)."""
    spec, objective = config.env, config.objective
    tokenizer = load_tokenizer(start)
    chat = Chat(tokenizer)
    skills = skill_context(config) if needs_skills(config) else None
    check_prompts(config, start, chat, skills)
    check_whole_vocabulary(config, shape_of(start).get_text_config().vocab_size)
    engine = make_engine(config, start, world, chat)
    share = objective.skilled_share
    known = skills if share or objective.stages_show_skills else None
    collector = Collector(spec, engine, chat, config.rollout, known, share)
    player = Collector(spec, engine, chat, config.rollout, skills if objective.student_skills else None)
    shown = retrievals.name_of(type(config.skills.retrieval)) if objective.student_skills else ""

    learner = make_learner(config, start, world)

    def export(directory: Path) -> None:
        step = step_of(directory.parent.with_suffix(""))
        card = model_card(config, run, step)
        export_model(learner.policy, compute_dtype(config.model), tokenizer, world, directory, card)

    def evaluate_step(step: int) -> dict[str, float]:
        if not config.eval.is_on:
            return {}
        result = play_panel(config, player, shown, world, progress, chat)
        if world.is_main:
            run.write_eval(step, result.to_json(), result.episodes)
        by_kind = {f"eval/success/{kind}": rate.value for kind, rate in result.by_kind.items()}
        return {f"eval/{name}": value for name, value in result.summary.items()} | by_kind

    return Trainer(
        config=config.train,
        advantage=config.advantage,
        tasks=spec.tasks(spec.splits()[0]),
        collector=collector,
        engine=engine,
        chat=chat,
        teacher=teacher_views(config, skills),
        learner=learner,
        checkpoints=Checkpoints(run.checkpoints, config.checkpoint, world, export),
        run=run,
        writing=Writing(
            author=make_author(config.writer, engine, chat),
            config=config.writer,
            run=run,
            ranks=world,
            seed=config.train.seed,
        ),
        evaluate=evaluate_step,
        progress=progress,
    )
