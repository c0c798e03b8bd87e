"""The building rules that a machine can check: floors, imports, sizes, names, and what a tracked file must not say."""

import ast
import functools
import importlib.metadata
import inspect
import re
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest
import yaml

from asteroid_stab.metrics.names import METRICS
from asteroid_stab.required import import_names

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "asteroid_stab"

# The first pattern that fits gives a module's floor; imports go down or stay. A package's __init__ stands on the
# highest floor of what it gives.
FLOORS = [
    ("__init__", 2),  # registers the models with Asteroid
    ("_compat", 0),  # pure functions
    ("errors", 0),
    ("dotted", 0),
    ("printed", 0),
    ("precision", 0),
    ("atomic", 0),
    ("locks", 0),
    ("paths", 0),
    ("item_names", 0),
    ("items", 0),
    ("signals", 0),
    ("threads", 0),
    ("transfer", 0),
    ("cores", 0),
    ("microphones", 0),
    ("version", 0),
    ("run.__init__", 0),
    ("run.assignments", 0),
    ("run.item_tables", 0),
    ("run.epochs", 0),
    ("required", 0),
    ("run.layout", 0),
    ("run.plan", 0),
    ("run.metrics_table", 0),
    ("metrics.names", 0),
    ("losses.pairwise", 0),
    ("losses.assignment", 0),
    ("losses.hungarian", 0),
    ("losses.weighting", 0),
    ("losses.matched", 0),
    ("losses.lengths", 0),
    ("losses.filtered", 0),
    ("losses.guard", 0),
    ("losses.likelihood", 1),
    ("losses.inactive", 1),
    ("losses.attention", 0),
    ("losses.pairs", 0),
    ("losses.schedules", 0),
    ("losses.bank", 0),
    ("losses.hooks", 0),
    ("losses.__init__", 1),  # modules
    ("losses.*_wrapper", 1),
    ("trust", 1),  # which classes may be built from files: models ask it too
    ("masknn.*", 1),
    ("audio.*", 1),
    ("data.*", 1),
    ("metrics.*", 1),
    ("stabilizers.*", 2),  # models, callbacks
    ("models.*", 2),
    ("pretext.*", 2),
    ("separation.*", 2),
    ("sharing.__init__", 0),
    ("sharing.hub", 1),  # where models come from
    ("sharing.export*", 2),
    ("sharing.*", 4),  # what of a run is shared
    ("callbacks.*", 2),
    ("integrations.*", 3),  # imported by those who ask for them, and by nobody here
    ("engine.remix", 0),
    ("engine.audible", 1),
    ("engine.*", 3),  # LightningModules
    ("run.*", 4),  # applications
    ("report.*", 4),
    ("demo.*", 4),
    ("cli.*", 5),  # the verbs, which nobody imports
]
APPLICATIONS = 4
CONFIG_LIBRARIES = {"hydra", "omegaconf"}
TOOLKITS = {"speechbrain", "espnet2", "accelerate"}  # which are there where an integration is asked for
MODULES = sorted(PACKAGE.rglob("*.py"))

# Modules of up to 350 lines, where splitting would split a thought.
LONG = {
    "stabilizers.stabilization": "the one training step, documented as a contract",
    "run.layout": "every path of a run folder, of an evaluation and of a study, in the one place for them",
    "models.refiner": "one network: its parts, the calls with their shapes, and its file",
}


def name_of(file):
    """``losses.pairwise`` for ``asteroid_stab/losses/pairwise.py``."""
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


def floor_of(name):
    return next((floor for pattern, floor in FLOORS if fnmatch(name, pattern)), None)


NAMES = {name_of(file) for file in MODULES}


def parse(file):
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def nodes_of(tree, hints):
    """All nodes; without ``hints`` all but those of ``if TYPE_CHECKING:`` blocks, which no program executes."""
    for node in ast.iter_child_nodes(tree):
        if not hints and isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from nodes_of(node, hints)


def imports(tree, hints=False):
    """Pairs of an absolute module name and the name taken from it (None for ``import x``)."""
    for node in nodes_of(tree, hints):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "import_module":
            literals = [argument.value for argument in node.args[:1] if isinstance(argument, ast.Constant)]
            yield from ((module, None) for module in literals)


def own_imports(tree, hints=False):
    """The modules of this package that ``tree`` imports, as ``name_of`` writes them."""
    for module, taken in imports(tree, hints):
        parts = module.split(".")
        if parts[0] != "asteroid_stab" or parts[1:2] in (["conf"], ["recipes"]):  # folders of yaml
            continue
        whole, part = ".".join(parts[1:]), ".".join([*parts[1:], *([taken] if taken else [])])
        names = [part, f"{part}.__init__", whole, f"{whole}.__init__".lstrip(".")]  # the submodule, else its package
        yield next(name for name in names if name in NAMES)


def graph(hints):
    """The modules that each module imports."""
    return {name_of(file): set(own_imports(parse(file), hints)) - {name_of(file)} for file in MODULES}


GRAPH = graph(hints=False)


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_module_keeps_the_rules(file):
    tree, name = parse(file), name_of(file)
    floor = floor_of(name)
    assert floor is not None, f"{name} has no floor: give it one in FLOORS"

    above = {other: floor_of(other) for other in GRAPH[name] if (floor_of(other) or 0) > floor}
    assert not above, f"floor {floor} imports from above"

    roots = {module.split(".")[0] for module, _ in imports(tree)}
    if floor < APPLICATIONS:
        assert not roots & CONFIG_LIBRARIES, "only applications know Hydra"
    assert "lightning" not in roots, "the host imports pytorch_lightning; lightning has other classes of the same names"
    assert "bench" not in roots or name == "cli.bench", "a wheel has no benchmarks"
    toolkits = TOOLKITS if name.startswith("integrations.") else set()
    builders = {"setuptools_scm"} if name == "version" else set()  # metadata stand in where it is not installed
    assert not list(undeclared(roots - {"bench"} - toolkits - builders)), "not declared in pyproject.toml"

    lines, most = len(file.read_text(encoding="utf-8").splitlines()), 350 if name in LONG else 250
    assert lines <= most, f"{lines} lines: does it hold two things?"
    if name != "_compat":
        assert not list(changes_of_hosts(tree)), "changes a host outside _compat.py"


@pytest.mark.parametrize("name", LONG)
def test_a_long_module_is_long(name):
    assert len((PACKAGE / f"{name.replace('.', '/')}.py").read_text(encoding="utf-8").splitlines()) > 250


def test_every_floor_pattern_is_needed():
    unused = [p for p, _ in FLOORS if not any(fnmatch(name, p) for name in NAMES)]
    assert not unused


def cycle(graph):
    """The first circle of imports that is found, as a chain of names; None where there is none."""
    done, path = set(), []

    def walk(name):
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return None
        path.append(name)
        found = next(filter(None, map(walk, sorted(graph[name]))), None)
        done.add(path.pop())
        return found

    return next(filter(None, map(walk, sorted(graph))), None)


def test_imports_have_no_cycle():
    """A type hint's import counts: two modules that name each other's types are one thing."""
    assert cycle(graph(hints=True)) is None


def test_cycles_are_seen():
    assert cycle({"a": {"b"}, "b": {"c"}, "c": set()}) is None
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


@pytest.mark.parametrize(
    ("code", "modules"),
    [
        ("from asteroid_stab.losses import pairwise", ["losses.pairwise"]),
        ("from asteroid_stab.losses import ExactPITLossWrapper", ["losses.__init__"]),
        ("import asteroid_stab.errors", ["errors"]),
        ("def f():\n    import_module('asteroid_stab.models')", ["models.__init__"]),
        ("importlib.import_module('asteroid_stab.models.files')", ["models.files"]),
        ("importlib.import_module(f'asteroid_stab.cli.{verb}')", []),
        ("if TYPE_CHECKING:\n    from asteroid_stab.engine.system import StabSystem", []),
        ("from asteroid.models import ConvTasNet", []),
    ],
)
def test_imports_are_seen(code, modules):
    assert list(own_imports(ast.parse(code))) == modules


def test_imports_of_hints_are_seen():
    code = "if typing.TYPE_CHECKING:\n    from asteroid_stab.engine.system import StabSystem"
    assert list(own_imports(ast.parse(code), hints=True)) == ["engine.system"]


# Words of one paper's model: elsewhere its figures are called figures and its variants variants.
OF_ONE_MODEL = r"(?<![a-z])(iterations?|sub[-_ ]?blocks?|stages?)(?![a-z])"
MAY_SAY_THEM = (
    "masknn.__init__",
    "masknn.error_head",
    "masknn.refinement",
    "masknn.sub_blocks",
    "models.refiner*",
    "models.layered_refiner",
    "engine.refinement_system",
    "callbacks.progressive",
    "run.layout",  # a folder of models that callbacks.progressive writes
    "run.metrics_table",  # a column that callbacks.progressive logs, named as in earlier versions
    "losses.sinkpit_wrapper",  # Sinkhorn's iteration
    "run.upgrade",  # configs and checkpoints of earlier versions
    "run.checkpoints",
    "integrations.speechbrain",  # Stage, a class of the toolkit
)
EXAMPLES_OF_VARIANTS = r"(?<![a-z])(stage|iterations)[\dN]"  # words that a user may give


def words_of_one_model(source):
    """The lines of a module that say such words, but for ``setup(stage)``, whose argument is Lightning's."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name == "setup":
            lines[node.lineno - 1 : node.end_lineno] = [""] * (node.end_lineno - node.lineno + 1)
    return [line for line in lines if re.search(OF_ONE_MODEL, re.sub(EXAMPLES_OF_VARIANTS, "", line), re.IGNORECASE)]


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_words_of_one_model_stay_in_its_modules(file):
    says = words_of_one_model(file.read_text(encoding="utf-8"))
    if not any(fnmatch(name_of(file), pattern) for pattern in MAY_SAY_THEM):
        assert not says


@pytest.mark.parametrize("pattern", MAY_SAY_THEM)
def test_every_exception_for_these_words_is_needed(pattern):
    files = [file for file in MODULES if fnmatch(name_of(file), pattern)]
    assert any(words_of_one_model(file.read_text(encoding="utf-8")) for file in files)


@pytest.mark.parametrize(
    ("source", "n_lines"),
    [
        ("model.max_iterations = 3", 1),
        ('"""Trained in stages,\nof Sub-blocks."""', 2),
        ("def setup(self, stage=None):\n    return stage", 0),
        ("def train_stage(self):\n    pass", 1),
        ("# staged, multistage, an iterator", 0),
        ("help = 'such as stage1,iterations2'", 0),
    ],
)
def test_words_of_one_model_are_seen(source, n_lines):
    assert len(words_of_one_model(source)) == n_lines


def lists_of_metrics(tree):
    """Literals that hold two metrics' names or more."""
    for node in ast.walk(tree):
        parts = node.keys if isinstance(node, ast.Dict) else getattr(node, "elts", [])
        names = {part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str)}
        names |= {constant for part in parts if isinstance(part, ast.Tuple) for constant in first_constant(part)}
        if len(names & set(METRICS)) > 1:
            yield ast.unparse(node)


def first_constant(node):
    return [node.elts[0].value] if node.elts and isinstance(node.elts[0], ast.Constant) else []


@pytest.mark.parametrize("file", MODULES, ids=name_of)
def test_metrics_are_listed_once(file):
    assert bool(list(lists_of_metrics(parse(file)))) == (name_of(file) == "metrics.names")


def test_lists_of_metrics_are_seen():
    code = "a = ('si_sdr', 'pesq')\nb = [('sdr', 'SDR', 2), ('sir', 'SIR', 2)]\nc = ('si_sdr', 'si_sdr_i')"
    assert list(lists_of_metrics(ast.parse(code))) == ["('si_sdr', 'pesq')", "[('sdr', 'SDR', 2), ('sir', 'SIR', 2)]"]


@functools.cache  # walks the whole environment
def packages_distributions():
    """The distributions by the names of their imports, as importlib.metadata has them from Python 3.11 on."""
    found = {}
    for distribution in importlib.metadata.distributions():
        for name in import_names(distribution):
            found.setdefault(name, []).append(distribution.metadata["Name"])
    return found


def undeclared(roots):
    """Imported packages that pyproject.toml does not name: they would be there by another's grace only."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    imported = ("toy", "wandb", "mlflow", "demo", "hub", "export", "slurm", "rooms")
    requirements = [*project["dependencies"], *(line for name in imported for line in extras[name])]
    declared = {normal(re.match(r"[\w.-]+", line)[0]) for line in requirements}
    distributions = packages_distributions()
    for root in roots - {"asteroid_stab"} - sys.stdlib_module_names:
        if not {normal(d) for d in distributions.get(root, [root])} & declared:
            yield root


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def changes_of_hosts(tree):
    """Attributes that are set or deleted on what was imported from elsewhere: monkey-patches, as far as seen."""
    foreign = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            foreign |= {a.asname or a.name.split(".")[0] for a in node.names if not a.name.startswith("asteroid_stab")}
        elif isinstance(node, ast.ImportFrom) and not node.module.startswith("asteroid_stab"):
            foreign |= {a.asname or a.name for a in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, (ast.Store, ast.Del)):
            target = node.value
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "delattr"):
            target = node.args[0]
        else:
            continue
        root = target
        while isinstance(root, ast.Attribute):
            root = root.value
        hook = ast.unparse(node) in ("sys.excepthook", "sys.unraisablehook")
        made_to_be_set = hook or ast.unparse(target).startswith("torch.backends")
        if isinstance(root, ast.Name) and root.id in foreign and not made_to_be_set:
            yield ast.unparse(node)


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("import torch\ntorch.load = print", ["torch.load"]),
        ("from asteroid.models import ConvTasNet as C\nC.forward = print", ["C.forward"]),
        ("from asteroid import models\nsetattr(models.ConvTasNet, 'x', 1)", ["setattr(models.ConvTasNet, 'x', 1)"]),
        ("import torch\ntorch.backends.cudnn.benchmark = True", []),
        ("import sys\nsys.unraisablehook = print", []),
        ("import sys\nsys.stdout = print", ["sys.stdout"]),
        ("from asteroid_stab import errors\nerrors.x = 1", []),
        ("import torch\nself.torch = torch.load", []),
    ],
)
def test_changes_of_hosts_are_seen(code, changes):
    assert list(changes_of_hosts(ast.parse(code))) == changes


def test_undeclared_imports_are_seen():
    assert list(undeclared({"torch", "yaml_of_nowhere", "os", "pb_bss_eval"})) == ["yaml_of_nowhere"]


def tracked_files():
    """What a commit may hold: the project's own folders and the files at the root, without what tools leave there."""
    folders = ("asteroid_stab", "bench", "conf", "recipes", "egs", "tests", ".ci")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*") if file.is_file()]
    files += [file for file in ROOT.iterdir() if file.is_file() and file.name != ".git"]
    return [file for file in files if "__pycache__" not in file.parts]


# Each pattern is spelt so that it does not match its own line.
FORBIDDEN = {
    "a package registry's host": r"pypi[.]org|pythonhosted[.]org|download[.]pytorch[.]org|anaconda[.]org",
    "a package registry's address": r"--(extra-)?index[-]url|--find[-]links",
    "a path of one machine": r"(?<![\w.~$}])/(wor[k]|tm[p]|roo[t]|hom[e]|User[s]|op[t])/\w",
}


@pytest.mark.parametrize("file", tracked_files(), ids=lambda file: str(file.relative_to(ROOT)))
def test_file_keeps_the_rules(file):
    assert file.stem not in ("utils", "helpers", "common", "misc"), "a name that says nothing"
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return  # audio, a picture
    written = {"old_run", "results"} & {*file.parts}  # by the program
    limit = 40 if file.name == "run.sh" or (file.suffix == ".yaml" and file.parent != ROOT and not written) else None
    assert limit is None or len(text.splitlines()) <= limit, f"more than {limit} lines"
    for what, pattern in FORBIDDEN.items():
        found = re.search(pattern, text)
        assert found is None, f"{what}: {found[0]!r}"


def targets():
    """Every ``_target_`` of the shipped yaml, with the first file that has it."""
    found = {}
    for file in sorted([*ROOT.glob("conf/**/*.yaml"), *ROOT.glob("recipes/**/*.yaml")]):
        for node in nodes(yaml.safe_load(file.read_text(encoding="utf-8"))):
            if "_target_" in node:
                found.setdefault(node["_target_"], str(file.relative_to(ROOT)))
    return found


def nodes(value):
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for child in value:
            yield from nodes(child)


@pytest.mark.parametrize("target", [name for name in targets() if name.partition(".")[0] not in TOOLKITS])
def test_target_has_a_signature(target):
    from hydra.utils import get_object

    kinds = [p.kind for p in inspect.signature(get_object(target)).parameters.values()]
    assert inspect.Parameter.VAR_KEYWORD not in kinds, "a misspelt key would vanish in **kwargs"
