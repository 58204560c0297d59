"""All studies by name, in the paper's order."""

from __future__ import annotations

from collections.abc import Sequence

from r1zero.errors import UserError, did_you_mean
from r1zero.paper.claims import Study
from r1zero.paper.studies import base_models, fig5, fig6, fig7, reflection, table2, table4

STUDIES: dict[str, Study] = {
    study.name: study
    for module in (base_models, reflection, fig5, table2, fig6, fig7, table4)
    for study in module.STUDIES
}
_ALSO = {
    "fig2": "table4", "fig4": "fig3-reflection", "fig8": "ablation", "fig10": "fig3-reflection",
    "fig14": "reflection-accuracy", "fig15": "reflection-accuracy", "table3": "fig6", "table5": "reflection-accuracy",
    "keywords": "fig3-reflection", "fig9": "fig3-reflection", "fig12": "reflection-accuracy",
}  # fmt: skip


def pick_studies(names: Sequence[str]) -> list[Study]:
    """Return the studies of these names, each once; `all` stands for all of them.

    Raises:
        UserError: there is no such study.
    """
    if not names or "all" in names:
        return list(STUDIES.values())
    found: dict[str, Study] = {}
    for name in names:
        study = STUDIES.get(_ALSO.get(name, name))
        if study is None:
            hint = did_you_mean(name, [*STUDIES, *_ALSO]).rstrip()
            raise UserError(f"there is no study {name!r} ({', '.join(STUDIES)}, all){hint and f'; {hint}'}")
        found[study.name] = study
    return list(found.values())
