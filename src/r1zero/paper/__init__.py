"""The paper's tables and figures: grids of runs, claims with their statistics, pictures.

Each module beside `world`, `grid`, `findings` and `page` is one study; `studies` lists them.
"""
