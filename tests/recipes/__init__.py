"""Other people's libraries, each in an application with our one line, on two nodes, one killed.

    make recipes
    python -m tests.recipes.run [--mode store] [--write] [--log] [NAME ...]

A recipe is a folder: ``recipe.toml`` says what is installed and how the application is served,
``app.py`` is the application, whose code ``docs/recipes/NAME.md`` shows, and ``scenario.py`` has
``scenario(stand)``, which uses it as a browser does and raises when something is wrong. With
``--write`` the table in docs/frameworks/README.md is brought up to date, with ``--mode store`` the
nodes have a Redis in the place of each other.
"""
