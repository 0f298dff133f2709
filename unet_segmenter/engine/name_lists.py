# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists of names as people write them, in a dialog, on a command line or in a table.

A name that holds a separator, an equals sign or a leading hash is written in double quotes, as
in a csv file; a double quote in such a name is written twice:

    road, "Developed, Open Space", "a=b", "the ""old"" wood"
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .errors import JobError

_QUOTE = '"'


def split_list(text: str, separators: str = ",", *, empty: bool = False) -> tuple[str, ...]:
    """Entries of a list, their quotes kept.

    Parameters
    ----------
    text : str
        The list.
    separators : str
        Characters that end an entry outside of quotes.
    empty : bool
        Keep empty entries, instead of leaving them out.

    Raises
    ------
    JobError
        If a quote is opened and not closed.

    Examples
    --------
    >>> split_list('road, "a, b"=0.4')
    ('road', '"a, b"=0.4')
    """
    entries, start = [], 0
    for place in _outside_quotes(text):
        if text[place] in separators:
            entries.append(text[start:place])
            start = place + 1
    entries.append(text[start:])
    return tuple(entry.strip() for entry in entries if empty or entry.strip())


def split_names(text: str, separators: str = ",") -> tuple[str, ...]:
    """Names in a list, without their quotes; errors are as for `split_list`.

    >>> split_names('road, "Developed, Open Space", "a=b"')
    ('road', 'Developed, Open Space', 'a=b')
    """
    return tuple(filter(None, map(unquoted, split_list(text, separators))))


def split_pair(text: str, *, last: bool = False) -> tuple[str | None, str]:
    """Left and right side of an equals sign, without quotes; the left is None where there is none.

    Parameters
    ----------
    text : str
        An entry of `split_list`.
    last : bool
        Split at the last equals sign outside of quotes, not at the first.

    Examples
    --------
    >>> split_pair('"a=b" = 0.4'), split_pair("a=b=0.4", last=True), split_pair('"a=b"')
    (('a=b', '0.4'), ('a=b', '0.4'), (None, 'a=b'))
    """
    left, right = raw_pair(text, last=last)
    return None if left is None else unquoted(left), unquoted(right)


def raw_pair(text: str, *, last: bool = False) -> tuple[str | None, str]:
    """The same with the quotes kept, for sides that are lists themselves."""
    places = [place for place in _outside_quotes(text) if text[place] == "="]
    if not places:
        return None, text.strip()
    place = places[-1 if last else 0]
    return text[:place].strip(), text[place + 1 :].strip()


def contains(text: str, signs: str) -> bool:
    """Whether one of the characters stands outside of quotes."""
    return any(text[place] in signs for place in _outside_quotes(text))


def unquoted(text: str) -> str:
    """An entry without the quotes around it and the space around these."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == _QUOTE:
        return text[1:-1].replace(2 * _QUOTE, _QUOTE)
    return text


def quoted(name: str) -> str:
    """A name as `split_names` and `split_pair` read it back.

    >>> print(quoted("road"), quoted("a=b"), quoted('the "old" wood'))
    road "a=b" the "old" wood
    """
    plain = name and name == name.strip() and name[0] not in '"#'
    if plain and not any(sign in name for sign in ",;=#\n\r"):
        return name
    return f"{_QUOTE}{name.replace(_QUOTE, 2 * _QUOTE)}{_QUOTE}"


def join_names(names: Iterable[str], separator: str = ", ") -> str:
    """A list of names as `split_names` reads it back.

    >>> join_names(["road", "Developed, Open Space"])
    'road, "Developed, Open Space"'
    """
    return separator.join(map(quoted, names))


def _outside_quotes(text: str) -> Iterator[int]:
    """Places of the characters outside of quotes; a quote opens at the start of an entry only."""
    opened, fresh = False, True
    for place, sign in enumerate(text):
        if opened:
            opened = sign != _QUOTE  # a doubled quote closes and opens again
            fresh = not opened
        elif sign == _QUOTE and fresh:
            opened = True
        else:
            yield place
            fresh = sign in ",;=\n\r" or (fresh and sign.isspace())
    if opened:
        raise JobError(
            f"The list {text!r} opens a quote that it does not close. Write a name with a comma "
            'as "such, a name".'
        )
