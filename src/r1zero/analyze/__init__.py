"""Understanding base models before compute is spent on them (sections 2 and D of the paper).

    kept responses ─→ answering · exploration · self-reflection · does it help ─→ pages, JSON, a card

`responses` reads what evaluations and runs have kept, `ask` asks a model for what is missing, `judges` say what a
response is, and the analyses are pure functions of both.
"""
