"""What the subcommands do. What takes long to import is imported by the command that needs it.

A command gets its positional words, its options, and the flags that are settings of a run; it returns the
exit status and prints what the user asked for to standard output, the path of what it made last.
"""

from collections.abc import Mapping

from sdar.commands.base import RECIPES, Command, TableOptions
from sdar.commands.comparison import CompareOptions, compare
from sdar.commands.completion import completion
from sdar.commands.data import DataOptions, data
from sdar.commands.evaluation import EvalOptions, evaluate
from sdar.commands.looking import check, doctor, show_list
from sdar.commands.planning import PlanOptions, plan
from sdar.commands.probing import GapOptions, gap
from sdar.commands.prompts import prompts
from sdar.commands.serving import ServeOptions, serve_retriever
from sdar.commands.shelf import RunsOptions, runs
from sdar.commands.skills import skills
from sdar.commands.studying import StudyOptions, study
from sdar.commands.training import TrainOptions, WarmStartOptions, train, warm_start
from sdar.commands.view import ViewOptions, view

COMMANDS: Mapping[str, Command] = {
    "train": Command(train, RECIPES, TrainOptions, settings=True),
    "plan": Command(plan, RECIPES, PlanOptions, settings=True),
    "eval": Command(evaluate, f"MODEL {RECIPES}", EvalOptions, settings=True),
    "gap": Command(gap, f"MODEL {RECIPES}", GapOptions, settings=True),
    "compare": Command(compare, "RUN RUN [RUN ...]", CompareOptions),
    "runs": Command(runs, "[clean] [RUN ...]", RunsOptions),
    "view": Command(view, "[RUN ...]", ViewOptions),
    "warm-start": Command(warm_start, RECIPES, WarmStartOptions, settings=True),
    "study": Command(study, "FILE.toml", StudyOptions),
    "list": Command(show_list, "[GROUP ...]", TableOptions, settings=True),
    "check": Command(check, "(env | objective | engine) NAME", TableOptions, settings=True),
    "doctor": Command(doctor, options=TableOptions),
    "data": Command(data, "(download | import) NAME [DIRECTORY]", DataOptions),
    "skills": Command(skills, "(show | check | stats | import | distil) ...", TableOptions, settings=True),
    "prompts": Command(prompts, "import DIRECTORY [FILE]"),
    "serve-retriever": Command(serve_retriever, RECIPES, ServeOptions, settings=True),
    "completion": Command(completion, "SHELL"),
}
