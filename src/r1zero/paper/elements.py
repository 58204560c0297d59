"""Every figure, table and appendix of the paper, and which study holds it. Numbers are v2's; v1's where they differ."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Element:
    """A part of the paper."""

    name: str
    about: str
    study: str = ""
    """The study whose jobs make it; "" of one that takes none."""
    note: str = ""
    """Where it is instead, or what its study is asked for it."""


ELEMENTS = (
    Element("Figure 1, left", "Dr. GRPO beside GRPO, as formulae", note="`r1zero objectives dr_grpo grpo`"),
    Element("Figure 1, right", "reward against length", "fig1"),
    Element("Figure 2", "models of 7B on benchmarks", "table4"),
    Element("Figure 3, left", "answering rates of base models", "fig3-answering"),
    Element("Figure 3, middle", "pass@8 over temperatures", "fig3-exploration"),
    Element("Figure 3, right", "self-reflection over temperatures", "fig3-reflection"),
    Element("Figure 4 (13 in v2)", "examples of self-reflection", "fig3-reflection",
            "`r1zero analyze` shows passages of its responses"),
    Element("Figure 5 of v1", "weights of tokens, as a diagram", note="`r1zero objectives`"),
    Element("Figure 5 (6 in v1)", "GRPO against Dr. GRPO", "fig5"),
    Element("Figure 6 (7 in v1)", "template and question set", "fig6"),
    Element("Figure 7 (8 in v1)", "domain pretraining", "fig7"),
    Element("Figure 8 of v2", "GRPO without either term", "ablation"),
    Element("Figure 9 of v2", "GRPO against Dr. GRPO over seeds", "fig5", "with `--seeds 3`"),
    Element("Figure 10 (9 in v1)", "occurrences of keywords", "fig3-reflection"),
    Element("Figure 12 (11 in v1)", "self-reflection by keyword, by judge, by both", "fig3-reflection"),
    Element("Figure 14 (12 in v1)", "what comes of responses, by level", "reflection-accuracy"),
    Element("Figure 15 (13 in v1)", "accuracy with and without reflection", "reflection-accuracy"),
    Element("Table 1", "templates on Qwen2.5-Math", "table1"),
    Element("Table 2, Listing 1", "losses of other projects", "table2"),
    Element("Table 3", "the question sets of figure 6", "fig6"),
    Element("Table 4", "trained models on benchmarks", "table4"),
    Element("Table 5", "lengths of responses by category", "reflection-accuracy"),
    Element("Table 6", "hyper-parameters", note="the recipes"),
    Element("Appendix A", "Dr. GRPO's gradient is the policy gradient", "table2"),
    Element("Appendix B", "table 4", "table4"),
    Element("Appendix C of v2", "figures 8 and 9", "ablation"),
    Element("Appendix D (F in v2)", "base model against trained model", "reflection-accuracy"),
    Element("Appendix G of v2", "table 6", note="the recipes"),
)  # fmt: skip
