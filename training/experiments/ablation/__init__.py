"""Which ingredient of a recipe helps, by slide and by patient."""
