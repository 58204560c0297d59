"""Understanding base models before compute is spent on them (sections 2 and D of the paper).

    saved responses ─cells→ answering · exploration · self-reflection · does it help ─→ pages, JSON, a readiness card

`cells` reads what evaluations and runs have kept, `subject` asks a model for what is missing, `judges` say what a
response is, and the analyses are pure functions of both.
"""
