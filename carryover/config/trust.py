"""What the YAML of a run folder may make: objects of the names listed here, and nothing else.

train.py executes the YAML that it is given. A run folder may come from a stranger, so the commands that open one look
at every tag before anything is made of it.
"""

import fnmatch
import inspect
import pydoc
import re

import ruamel.yaml
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

# Classes may be made and named (!new, !name): modules, and what lies below them.
MODULES = (
    "carryover.data", "carryover.decoding", "carryover.forgetting", "carryover.losses", "carryover.models",
    "carryover.runs.trackers", "carryover.text", "carryover.training.schedule", "recipes",
    "speechbrain.augment.augmenter", "speechbrain.augment.freq_domain", "speechbrain.augment.time_domain",
    "speechbrain.dataio.batch", "torch.nn.modules", "torch.optim", "transformers.optimization", "bitsandbytes.optim",
)  # fmt: skip
# Functions may be called and named (!apply, !name): what reads or builds, and writes nothing.
FUNCTIONS = (
    "carryover.data.landmarks.layout.Layout.*", "carryover.losses.*.of", "carryover.models.*.load",
    "carryover.models.*.of", "carryover.models.projector.*.between", "carryover.models.features.features_of",
    "carryover.models.wav2vec2.tokenizer", "carryover.text.*.from_folder", "local.*.utterances", "local.*.glosses",
    "recipes.*", "speechbrain.utils.seed.seed_everything",
)  # fmt: skip
PLAIN = {f"tag:yaml.org,2002:{kind}" for kind in "null bool int float str seq map merge timestamp".split()}
REFERENCES = {"!ref", "!copy", "!PLACEHOLDER"}  # text is put in their place before objects are made
ATTRIBUTE = "!apply:getattr"  # what `!ref <key.attribute>` becomes
OPT_OUT = (
    "The folder's author may have meant harm. If you made the folder yourself, or have read that file, --trust runs "
    "what it says, whatever it is"
)


class NotListed(ValueError):
    """A YAML asks for what the list does not allow."""


def require_listed(text: str, where: str) -> type:
    """Look through a YAML before its references are resolved.

    Returns
    -------
    The loader to make its objects with: it looks again at what the resolved text asks for.

    Raises
    ------
    NotListed
        Naming the tag and `where` it stands.
    """
    try:
        node = ruamel.yaml.YAML().compose(text)
    except YAMLError as error:
        raise NotListed(f"{where}: no YAML: {' '.join(str(error).split())[:300]}") from None
    _require(node, where, REFERENCES)
    return type("ListedLoader", (_ListedLoader,), {"where": where})


class _ListedLoader(ruamel.yaml.Loader):
    where = ""

    def construct_document(self, node):
        _require(node, self.where, {ATTRIBUTE})
        return super().construct_document(node)

    def attribute(self, node):
        """`!ref <key.attribute>` of an object; a module or what is not listed is not given away."""
        of, name = self.construct_sequence(node, deep=True)
        found = getattr(of, name)
        callable_ = inspect.isclass(found) or inspect.isroutine(found)
        if inspect.ismodule(found) or (callable_ and not _listed(found)):
            raise _refusal(f"!ref <….{name}>", self.where)
        return found


_ListedLoader.add_constructor(ATTRIBUTE, _ListedLoader.attribute)


def _refusal(tag: str, where: str) -> NotListed:
    return NotListed(
        f"{where}: {tag} is not among what a run folder may make (carryover/config/trust.py lists it). {OPT_OUT}"
    )


def _require(root, where: str, also: set[str]) -> None:
    todo, seen = [root], set()
    while todo:
        node = todo.pop()
        if node is None or id(node) in seen:  # an alias names one node in several places
            continue
        seen.add(id(node))
        tag = str(node.tag or "")
        if tag not in PLAIN | also and not _allowed(tag, node):
            raise _refusal(tag, where)
        if tag == ATTRIBUTE and not (
            isinstance(node, SequenceNode) and len(node.value) == 2 and re.match(r"[A-Za-z]", str(node.value[1].value))
        ):
            raise _refusal("!ref <….attribute>", where)
        if isinstance(node, ScalarNode):
            # hyperpyyaml reads (1, 2) with PyYAML's unsafe loader; a power can take hours
            if node.value.startswith("(") and "!" in node.value or tag in REFERENCES and "**" in node.value:
                raise _refusal(repr(node.value[:80]), where)
        elif isinstance(node, MappingNode):
            todo += [part for pair in node.value for part in pair]
        else:
            todo += node.value


def _allowed(tag: str, node) -> bool:
    kind, _, name = tag.partition(":")
    if tag == "!tuple":
        return isinstance(node, ScalarNode)
    if kind not in ("!new", "!name", "!apply") or not re.fullmatch(r"[A-Za-z]\w*(\.[A-Za-z]\w*)+", name):
        return False
    below = name.startswith(tuple(f"{module}." for module in (*MODULES, "local")))
    if not below and not any(fnmatch.fnmatchcase(name, pattern) for pattern in FUNCTIONS):
        return False  # before it is looked up: that imports modules
    found = pydoc.locate(name)
    return found is None or _listed(found)  # what is not there is told by who makes it


def _listed(found) -> bool:
    """Whether a class or function itself, whatever the name it was reached by, is on the list."""
    home = getattr(found, "__module__", None) or ""
    if inspect.isclass(found):
        return any(home == module or home.startswith(f"{module}.") for module in MODULES)
    name = f"{home}.{getattr(found, '__qualname__', '')}"
    return inspect.isroutine(found) and any(fnmatch.fnmatchcase(name, pattern) for pattern in FUNCTIONS)
