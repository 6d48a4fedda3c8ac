"""Choose a recipe by cases left out, and measure the choice by another case left out."""
