"""The paper's tables and figures: grids of runs, claims with their statistics, pictures.

`jobs` runs a study's grid, `claims` says what came of it, `page` shows it; `studies` holds one module a study.
"""
