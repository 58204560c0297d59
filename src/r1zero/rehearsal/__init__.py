"""Trying a run out before it costs anything: the same recipe with stand-ins, to its last step, in a minute.

A model is replaced by a tiny random one of the same class, tokenizer kind, EOS list, positions and tied or untied head
(`r1zero.rehearsal.stand_in`), question sets and corpora by a few rows of them (`r1zero.rehearsal.sets`), budgets by
small ones (`r1zero.rehearsal.scale`). What is left is what fails after days else: a name, a context, a template, a
column, a disk. What a rehearsal measures means nothing.
"""
