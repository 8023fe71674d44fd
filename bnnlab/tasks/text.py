"""Text, character by character: what comes next?"""

import string
import sysconfig
from functools import lru_cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import param

from bnnlab import limits
from bnnlab.tasks import download, userfile
from bnnlab.tasks.base import FileRefused, Split, Task, TaskUnavailable

# Stands for every character that is not in the vocabulary; always symbol 0.
UNKNOWN = "\N{REPLACEMENT CHARACTER}"

MIRRORS = ("https://cs.stanford.edu/people/karpathy/char-rnn/",)
WAR_AND_PEACE = "warpeace_input.txt"
WAR_AND_PEACE_SHA256 = "fb66ba999dafe24017cdd59e04c56d385a9c8466993d374fd4c6f08b2142985e"

# Written by people, in every Python from 3.11 on, in this order until there is enough.
MODULES = (
    "argparse", "ast", "bdb", "calendar", "cmd", "codecs", "configparser", "contextlib", "copy",
    "csv", "dataclasses", "difflib", "doctest", "enum", "fractions", "functools", "gettext",
    "heapq", "imaplib", "inspect", "ipaddress", "mailbox", "optparse", "pdb", "pickle",
    "pickletools", "plistlib", "pprint", "random", "selectors", "shutil", "smtplib", "socket",
    "socketserver", "ssl", "statistics", "string", "subprocess", "tarfile", "tempfile", "textwrap",
    "threading", "tokenize", "traceback", "typing", "uuid", "warnings", "weakref",
)  # fmt: skip
CHARACTERS = 1_000_000  # of Python's library

# One symbol for each: known before anything is read or downloaded.
VOCABULARIES = {
    "python": "\n" + "".join(map(chr, range(ord(" "), ord("~") + 1))),
    "war_and_peace": "\n\r !\"'()*,-./" + string.digits + ":;=?" + string.ascii_letters
    + "".join(map(chr, [0xA0, 0xA4, 0xA9, 0xAA, 0xBB, 0xBF, 0xC3, 0xEF])),
}  # fmt: skip


class Text(Task):
    """A text, cut into sequences of characters; the label of each character is the next one.

    Its parts are contiguous: the first 80 % for training, then 10 % for validation, then 10 % for
    testing. Characters are numbered in the order of their code points, from 1; 0 is every other
    character.

    - `python`: source files of Python's own standard library, one after the other, a million
      characters. They differ a little between versions of Python.
    - `war_and_peace`: 3,258,246 characters of 87 kinds.
    - `file`: a text in UTF-8 that the user names. Its vocabulary is the characters of the training
      part, so `inputs` and `classes` read the file, once for as long as it stays as it is.

    Source: A. Karpathy, J. Johnson, L. Fei-Fei, *Visualizing and Understanding Recurrent Networks*,
    arXiv 1506.02078, 2015, section 4.1 (War and Peace and its split); L. Hou, Q. Yao, J. T. Kwok,
    *Loss-aware Binarization of Deep Networks*, ICLR 2017, section 4.2 (its use here).

    Faithfulness: the 87 kinds of characters of War and Peace are its bytes, as the authors' code
    reads them: é is two symbols, and the three bytes that mark UTF-8 at its beginning are three.
    The symbol for other characters makes 88 of them; it never occurs.
    """

    key = "text"
    title = "Text"
    description = (
        "The next character of a text: Python's own library, War and Peace (downloaded on first "
        "use, 3 MB), or a file of yours."
    )
    kind = "text"
    shape = ()
    network = "lstm"
    loss = "cross_entropy"
    lr = 0.002
    order = 4

    source = param.Selector(
        default="python",
        objects=["python", "war_and_peace", "file"],
        constant=True,
        doc="Where the text comes from: Python's standard library, War and Peace, or the file that "
        "path names.",
    )
    path = param.String(
        default="", constant=True, doc="The text file, in UTF-8; only when source is file."
    )
    length = param.Integer(
        default=50,
        bounds=(2, 500),
        constant=True,
        doc="Characters of a sequence: how far the network is unrolled.",
    )

    @property
    def vocabulary(self) -> str:
        """Every symbol's character, in order; the first stands for all that are not in it.

        Raises ValueError when the source is a file and none is named, FileRefused when it cannot be
        used.
        """
        known = VOCABULARIES.get(self.source) or self._described()
        return UNKNOWN + "".join(sorted(known))

    @property
    def inputs(self) -> int:
        """The size of the vocabulary."""
        return len(self.vocabulary)

    @property
    def classes(self) -> int:
        """The size of the vocabulary."""
        return len(self.vocabulary)

    def about(self):
        """Its characters, and how many make a sequence."""
        return {"task": self.key, "vocabulary": self.vocabulary, "length": self.length}

    def encode(self, text: str) -> np.ndarray:
        """Return the symbols of a text, int64 `(characters,)`."""
        return encode(text, self.vocabulary)

    def decode(self, symbols: np.ndarray) -> str:
        """Return the text that symbols `(characters,)` spell."""
        vocabulary = self.vocabulary
        return "".join(vocabulary[symbol] for symbol in np.asarray(symbols).tolist())

    def fetch(self, progress=None):
        """See that the text is there; download War and Peace if it is the source and is not."""
        if self.source == "war_and_peace":
            _war_and_peace(progress)
        else:
            self._text()

    def load(self):
        """Return sequences of `length` symbols and of those that follow; what does not fill a
        sequence is left out.
        """
        symbols = self.encode(self._text())
        ends = [0, *_ends(len(symbols)), len(symbols)]
        parts = [symbols[start:end] for start, end in pairwise(ends)]
        return Split(*(values for part in parts for values in self._sequences(part)))

    def _sequences(self, symbols: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        used = (len(symbols) - 1) // self.length * self.length
        x, y = symbols[:used], symbols[1 : used + 1]  # which share their memory
        return x.reshape(-1, self.length), y.reshape(-1, self.length)

    def _text(self) -> str:
        if self.source == "python":
            return _library()
        if self.source == "war_and_peace":
            return _war_and_peace(None).read_bytes().decode("latin-1")
        self._described()
        return read(self._file())

    def _file(self) -> userfile.UserFile:
        example = "text:source=file,path=notes.txt"
        return userfile.look(self.path, example=example, most=limits.TEXT_BYTES)

    def _described(self) -> str:
        count, known = _describe(self._file())
        least = 10 * (self.length + 1)
        if count < least:
            raise FileRefused(
                f"{self.path} has {count:,} characters; sequences of {self.length} need at least "
                f"{least:,}"
            )
        return known


def encode(text: str, vocabulary: str) -> np.ndarray:
    """The symbols of a text, int64 `(characters,)`: places in the vocabulary, whose first character
    stands for all that are not in it and whose others are in the order of their code points.
    """
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
    known = np.array([ord(character) for character in vocabulary[1:]], dtype="<u4")
    place = np.minimum(np.searchsorted(known, codes), len(known) - 1)
    return np.where(known[place] == codes, place + 1, 0)


def _ends(count: int) -> tuple[int, int]:
    return 8 * count // 10, 9 * count // 10


def _library() -> str:
    folder = Path(sysconfig.get_path("stdlib"))
    found = [folder / f"{module}.py" for module in MODULES if (folder / f"{module}.py").is_file()]
    text = ""
    for path in found:
        text += path.read_text(encoding="utf-8")
        if len(text) >= CHARACTERS:
            return text[:CHARACTERS]
    raise TaskUnavailable(
        f"this Python has no source files of its standard library in {folder}; take another text"
    )


def _war_and_peace(progress) -> Path:
    remote = download.Remote("text", WAR_AND_PEACE, MIRRORS)
    return download.obtain(remote, partial(download.same, sha256=WAR_AND_PEACE_SHA256), progress)


def read(file: userfile.UserFile) -> str:
    """A file's text.

    Raises FileRefused when it cannot be read or is no text in UTF-8.
    """
    try:
        with file.path.open("rb") as source:
            text = source.read(limits.TEXT_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise FileRefused(f"{file.path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise FileRefused(
            f"{file.path} is not a text in UTF-8 (byte {error.start:,}: {error.reason})"
        ) from None
    if "\0" in text:
        raise FileRefused(f"{file.path} is no text: it holds zero bytes")
    return text


@lru_cache(maxsize=16)
def _describe(file: userfile.UserFile) -> tuple[int, str]:
    """Count a file's characters, and find the different ones in its training part."""
    text = read(file)
    known = set(text[: _ends(len(text))[0]]) - {UNKNOWN}
    if len(known) >= limits.CLASSES:
        raise FileRefused(
            f"{file.path} has {len(known):,} different characters, fewer than {limits.CLASSES:,} "
            "are allowed"
        )
    return len(text), "".join(known)
