"""A packed network as one file of C99 and a header, which need nothing else.

The C file is the kernels' own plain C (scalar.c, network.c and what they include, every function
`static`), the network's program as constant data, and one function. What it computes is what the
packed network does with the instruction set "scalar".
"""

import re
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import bnnlab
from bnnlab.packed import kernels
from bnnlab.packed.about import AS_THEY_ARE, About
from bnnlab.packed.files import write_aside
from bnnlab.packed.model import PackedModel
from bnnlab.packed.network import Network

VECTORS = 8  # samples that a file is tested with
_LENGTH = 64  # symbols of a text at most, where nothing was said of it
_LINE = 100  # characters of a line of constants

_TYPES = {"uint32": "uint32_t", "int32": "int32_t", "uint8": "uint8_t", "float32": "float"}

# The beginning of a definition or declaration at the margin, and a whole definition with the
# comment before it.
_BEGINS = r"^(?:static )?(?:inline )?(?:const )?(?:struct )?\w+ \*?(\w+)\([^;{}()]*\)"
_WHOLE = rf"(?:^/\*(?:[^*]|\*(?!/))*\*/\n)?{_BEGINS}\n{{\n.*?^}}\n+"


def write(model: PackedModel, path: Path, samples: np.ndarray | None = None) -> list[Path]:
    """Write a packed network as C.

    Args:
        model: the network.
        path: NAME.c; the header is NAME.h beside it, and all names begin with NAME.
        samples: inputs such as the network takes, some of which become test vectors; by default
            inputs are made up.

    Returns:
        The two files.

    Raises:
        ValueError: NAME is no name in C.
        KernelsMissing: no compiled kernels.
    """
    name = path.stem
    if not re.fullmatch(r"[A-Za-z]\w{0,59}", name, re.ASCII):
        raise ValueError(
            f"{path.name}: functions are called by it, so it must be letters, digits and _ (at "
            "most 60, a letter first) before the .c"
        )
    header = path.with_suffix(".h")
    length = 1 if model.shape else model.about.length or _LENGTH
    size = Network(model.program.steps).workspace(1, length)
    texts = {
        header: _header(model, name, length, size),
        path: _source(model, name, length, samples),
    }
    for file, text in texts.items():
        write_aside(file, text.encode())
    return [path, header]


# The runtime --------------------------------------------------------------------------------------


def _folder() -> Path:
    """Where the kernels' sources lie: beside the package, or in it once it is installed."""
    places = [Path(place).parent / "kernels" for place in bnnlab.__path__]
    places += [Path(place) / "packed" / "c" for place in bnnlab.__path__]
    for place in places:
        if (place / "src" / "network.c").is_file():
            return place
    raise FileNotFoundError("the sources of the kernels are not installed")


@cache
def runtime() -> str:
    """The plain C of whole networks as one text, whose functions are all `static`."""
    folder, seen, system = _folder(), set(), {}

    def inlined(name: str) -> str:
        if name in seen:
            return ""
        seen.add(name)
        where = "include" if name.startswith("bnnlab_") else "src"
        text = (folder / where / name).read_text()
        guard = re.search(r"^#ifndef (\w+_H)\n#define \1\n", text, re.MULTILINE)
        if guard:
            text = text.replace(guard[0], "")
            text = text[: text.rindex("#endif")]
        for found in re.findall(r"^#include (<.*>)\n", text, re.MULTILINE):
            system[found] = None
        text = re.sub(r"^#include <.*>\n", "", text, flags=re.MULTILINE)
        return re.sub(r'^#include "(.*)"\n', lambda m: inlined(m[1]), text, flags=re.MULTILINE)

    text = inlined("scalar.c") + inlined("network.c")
    text = re.sub(r"^#ifdef BNNLAB_(?:X86|\w+_BUILT)\n.*?^#endif\n", "", text, flags=re.M | re.S)
    text = re.sub(r"^extern .*;\n", "", text, flags=re.MULTILINE)
    text = text.replace("int BNNLAB_RUN_WITH(", "int bnnlab_network_run_with(")
    text = _without_idle(text)
    text = re.sub(r"^((?:int|size_t) bnnlab_\w+\()", r"static \1", text, flags=re.MULTILINE)
    text = re.sub(r"^(const struct bnnlab_family bnnlab_)", r"static \1", text, flags=re.MULTILINE)
    return "\n".join(f"#include {name}" for name in system) + "\n\n" + text.strip() + "\n"


def _without_idle(text: str) -> str:
    """The same without functions that nothing calls, and declarations of what is not there."""
    while True:
        code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
        declared = re.findall(_BEGINS + ";", code, re.MULTILINE)
        defined = re.findall(_BEGINS + r"\n{", code, re.MULTILINE)
        called = [name for name in defined
                  if len(re.findall(rf"\b{name}\b", code)) > 1 + declared.count(name)]  # fmt: skip
        kept = {*called, "bnnlab_network_run_with"}
        shorter = _keeping(text, kept)
        if shorter == text:
            return text
        text = shorter


def _keeping(text: str, kept: set[str]) -> str:
    """The same with no functions but those kept."""
    parts = re.split(r"\n{2,}", text)
    text = "\n\n".join(part for part in parts if not _is_foreign(part, kept))
    return re.sub(_WHOLE, lambda m: m[0] if m[1] in kept else "", text, flags=re.M | re.S)


def _is_foreign(part: str, kept: set[str]) -> bool:
    """Whether a paragraph does nothing but declare a function that is not kept."""
    code = re.sub(r"/\*.*?\*/", "", part, flags=re.DOTALL).strip()
    found = re.fullmatch(_BEGINS + ";", code)
    return found is not None and found[1] not in kept


# The data -----------------------------------------------------------------------------------------


def _number(value: Any, kind: str) -> str:
    if kind == "float32":
        text = f"{float(value):.9g}"
        return text + ("f" if re.search(r"[.e]", text) else ".0f")
    value = int(value)
    if kind == "uint32":
        return f"{value:#x}u"
    return str(value) if value > -(2**31) else "-2147483647-1"


def _array(name: str, array: np.ndarray) -> str:
    """A constant array of a name."""
    kind = str(array.dtype)
    lines, line = [], ""
    for value in array.reshape(-1):
        text = _number(value, kind) + ","
        if len(line) + len(text) > _LINE:
            lines.append(line)
            line = ""
        line += text
    body = "\n".join([*lines, line])
    return f"static const {_TYPES.get(kind, kind)} {name}[{array.size}] = {{\n{body}\n}};\n"


def _fields(values: Any, name: str, arrays: list[str]) -> str:
    """A struct's initializer; its arrays are added to those before."""
    parts = []
    for field in fields(values):
        value = getattr(values, field.name)
        if isinstance(value, np.ndarray):
            own = f"{name}_{field.name}"
            arrays.append(_array(own, value))
            parts.append(f".{field.name} = {{{own}, {value.size}}}")
        elif is_dataclass(value):
            parts.append(f".{field.name} = {{{_fields(value, name, arrays)}}}")
        elif value:
            parts.append(f".{field.name} = {value!r}")
    return ", ".join(parts) or "0"


def _data(model: PackedModel) -> str:
    arrays: list[str] = []
    steps = model.program.steps
    layers = [f"    {{{_fields(step, f'layer{i}', arrays)}}}" for i, step in enumerate(steps)]
    return (
        "\n".join(arrays)
        + f"\nstatic const struct bnnlab_layer layers[{len(layers)}] = {{\n"
        + ",\n".join(layers)
        + f"\n}};\n\nstatic const struct bnnlab_network network = {{layers, {len(layers)}}};\n"
    )


# The files ----------------------------------------------------------------------------------------


def _comment(text: str) -> str:
    """Words as they may stand in a comment of C."""
    return text.replace("*/", "* /").replace("/*", "/ *").replace("\\", "/").encode(
        "ascii", "replace"
    ).decode()  # fmt: skip


def _known(about: About) -> str:
    """What must be known of inputs and scores, as lines of a comment."""
    lines = []
    if about.task:
        lines.append(f"Trained on: {about.task}.")
    if about.numbers != AS_THEY_ARE:
        centre, unit = about.numbers.centre, about.numbers.unit
        lines.append(f"The network takes (number - {centre:g}) / {unit:g} of the numbers found.")
    if about.prepared:
        lines.append(f"Before: {about.prepared}.")
    if about.columns:
        lines.append("Inputs, in their order, are made of columns:")
        for column in about.columns:
            values = getattr(column, "values", None)
            made = (
                f"1 or 0 for each of {', '.join(values)}"
                if values is not None
                else f"(number - {column.centre!r}) / {column.unit!r}"  # pyright: ignore
            )
            lines.append(f"  {column.name}: {made}")
    if about.classes:
        lines.append(f"Scores are of: {', '.join(about.classes)}.")
    if about.vocabulary:
        shown = " ".join(f"{ord(character):x}" for character in about.vocabulary)
        lines.append("Symbols and scores are of the characters (code points; the first stands for")
        lines.append(f"all others) {shown}.")
    return "".join(f" * {_comment(line)}\n" for line in lines)


def _signature(model: PackedModel, name: str) -> str:
    given = "const float *x" if model.shape else "const int64_t *symbols, size_t length"
    return f"int {name}_predict({given}, float *scores)"


def _header(model: PackedModel, name: str, length: int, size: int) -> str:
    what = name.upper()
    layers = "".join(f" *   {layer.name}: {_comment(layer.describe())}\n" for layer in model.layers)
    if model.shape:
        sizes = (
            f"#define {what}_INPUTS {model.inputs} "
            f"/* {' x '.join(map(str, model.shape))}: of images [channels][height][width] */\n"
        )
        call = f"x: {what}_INPUTS numbers. scores: {what}_OUTPUTS; the largest is the prediction."
    else:
        sizes = (
            f"#define {what}_SYMBOLS {model.inputs}\n"
            f"#define {what}_LENGTH {length} /* symbols of a text at most */\n"
        )
        call = (
            f"symbols: `length` of them, from 0 to {what}_SYMBOLS - 1. scores: [length]"
            f"[{what}_OUTPUTS],\n * of what follows each."
        )
    return f"""/* A packed network, written by bnnlab {bnnlab.__version__}:
{layers}{_known(model.about)} */
#ifndef {what}_H
#define {what}_H

#include <stddef.h>
#include <stdint.h>

{sizes}#define {what}_OUTPUTS {model.outputs}
#define {what}_WORKSPACE {size} /* bytes that it keeps for itself, static */

#ifdef __cplusplus
extern "C" {{
#endif

/* {call}
 * Returns 0, or not 0 where an input is not finite or out of range: the scores are then undefined.
 * One call at a time: the workspace is static. */
{_signature(model, name)};

#ifdef __cplusplus
}}
#endif

#endif
"""


def _source(model: PackedModel, name: str, length: int, samples: np.ndarray | None) -> str:
    what = name.upper()
    if model.shape:
        refuse, given = "", f"x, {what}_INPUTS, 1, 1, scores, {what}_OUTPUTS"
    else:
        refuse = f"    if (length < 1 || length > {what}_LENGTH)\n        return 1;\n"
        given = f"symbols, length, 1, length, scores, length * {what}_OUTPUTS"
    return f"""/* A packed network, written by bnnlab {bnnlab.__version__}; see {name}.h.
 *
 *     cc -std=c99 -O2 -c {name}.c
 *     cc -std=c99 -O2 -DBNNLAB_TEST {name}.c -o {name}_test && ./{name}_test
 *
 * Everything but {name}_predict is static. MIT licence, as bnnlab. */
#include "{name}.h"

{runtime()}
/* The network ---------------------------------------------------------------------------------- */

{_data(model)}
static union {{
    unsigned char bytes[{what}_WORKSPACE];
    double real;
    int64_t whole;
    void *pointer;
}} workspace;

{_signature(model, name)}
{{
{refuse}    return bnnlab_network_run_with(&bnnlab_scalar, &network, {given},
                                   workspace.bytes, sizeof workspace.bytes);
}}

{_test(model, name, length, samples)}"""


def _test(model: PackedModel, name: str, length: int, samples: np.ndarray | None) -> str:
    """The test vectors, and a program that compares them."""
    x = _drawn(model, length) if samples is None else samples[:VECTORS]
    x = np.ascontiguousarray(x.reshape(len(x), -1)[:, : None if model.shape else min(length, 16)])
    scores = _scores(model, x)
    what, steps = name.upper(), x.shape[1]
    kind = "float" if model.shape else "int64_t"
    call = "given[i]" if model.shape else f"given[i], {steps}"
    return f"""#ifdef BNNLAB_TEST
#include <stdio.h>

{_table(kind, "given", x)}
{_table("float", "wanted", scores)}
int main(void)
{{
    static float scores[{scores.shape[1]}];
    int wrong = 0;
    for (int i = 0; i < {len(x)}; i++) {{
        if ({name}_predict({call}, scores) != 0) {{
            printf("sample %d: refused\\n", i);
            wrong++;
            continue;
        }}
        for (int j = 0; j < {scores.shape[1]}; j++) {{
            const float off = scores[j] - wanted[i][j], size = wanted[i][j];
            const float most = 1e-6f + 1e-5f * (size < 0 ? -size : size);
            if (!(off <= most && off >= -most)) {{
                printf("sample %d, score %d: %.9g, not %.9g\\n", i, j % {what}_OUTPUTS, scores[j],
                       wanted[i][j]);
                wrong++;
            }}
        }}
    }}
    printf("{name}: {len(x)} samples, %d wrong\\n", wrong);
    return wrong != 0;
}}
#endif
"""


def _scores(model: PackedModel, x: np.ndarray) -> np.ndarray:
    """What the plain C of the packed network makes of inputs, a row a sample."""
    network = Network(model.program.steps)
    shape = (len(x), model.outputs if model.shape else x.shape[1] * model.outputs)
    out = np.empty(shape, np.float32)
    workspace = kernels.aligned(
        (network.workspace(len(x), 1 if model.shape else x.shape[1]),), kernels.UINT8
    )
    kernels.check(network.run(x, out, workspace, 1, kernels.isa_number("scalar")))
    return out


def _table(kind: str, name: str, rows: np.ndarray) -> str:
    written = [", ".join(_number(value, str(rows.dtype)) for value in row) for row in rows]
    body = ",\n".join(f"    {{{row}}}" for row in written)
    return f"static const {kind} {name}[{rows.shape[0]}][{rows.shape[1]}] = {{\n{body}\n}};\n"


def _drawn(model: PackedModel, length: int) -> np.ndarray:
    """Made-up inputs: numbers from -1 to 1 in steps of 1/8, or symbols."""
    random = np.random.default_rng(0)
    if model.shape:
        return (random.integers(-8, 9, (VECTORS, model.inputs)) / 8).astype(np.float32)
    return random.integers(0, model.inputs, (VECTORS, length))
