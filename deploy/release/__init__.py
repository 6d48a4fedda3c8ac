"""Build a release from a tag: bills of materials, licences, audit, provenance, signature.

`python -m deploy.release --help` lists the commands; docs/supply-chain.md explains them.
"""
