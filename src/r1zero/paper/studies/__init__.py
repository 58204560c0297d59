"""All studies by name, in the paper's order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from r1zero.errors import UserError, did_you_mean
from r1zero.paper.claims import Study
from r1zero.paper.elements import ELEMENTS
from r1zero.paper.studies import base_models, fig5, fig6, fig7, reflection, table2, table4

STUDIES: dict[str, Study] = {
    study.name: study
    for module in (base_models, reflection, fig5, table2, fig6, fig7, table4)
    for study in module.STUDIES
}


def _numbered() -> dict[str, list[str]]:
    """Return the studies by the number of a figure or table: v2's, and v1's where v2 has no other study there."""
    now, before = dict[str, list[str]](), dict[str, list[str]]()
    for element in ELEMENTS:
        found = re.match(r"(Figure|Table) (\d+)(?:.*\((\d+) in (v[12])\))?", element.name)
        if not found or not element.study:
            continue
        kind, number, other, version = found.groups()
        newer, older = (other, number) if version == "v2" else (number, other)
        for names, each in ((now, newer), (before, older)):
            names.setdefault(f"{'fig' if kind == 'Figure' else 'table'}{each}", []).append(element.study)
    return {**before, **now, "keywords": ["fig3-reflection"]}


_NAMED = _numbered()


def pick_studies(names: Sequence[str]) -> list[Study]:
    """Return the studies of these names or numbers of the paper's, each once; `all` stands for all of them.

    Raises:
        UserError: there is no such study.
    """
    if not names or "all" in names:
        return list(STUDIES.values())
    found: dict[str, Study] = {}
    for name in names:
        if name not in _NAMED and name not in STUDIES:
            hint = did_you_mean(name, [*STUDIES, *_NAMED]).rstrip()
            raise UserError(f"there is no study {name!r} ({', '.join(STUDIES)}, all){hint and f'; {hint}'}")
        names_of = [name] if name in STUDIES else _NAMED[name]
        found |= {each: STUDIES[each] for each in names_of}
    return list(found.values())
