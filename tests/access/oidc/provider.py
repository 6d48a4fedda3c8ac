"""Run the provider, change its keys, kill it, and ask it for tokens."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_ec_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa_key
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.clients.tools import Tools
from tests.servers import free_port, plain_client

_PROGRAM: Final = Path(__file__).parent / "provider.mjs"
AUDIENCE: Final = "https://tiles.example"


class Provider:
    """A process with the npm package oidc-provider, at two issuers that share their keys."""

    def __init__(self, node: Tools, folder: Path) -> None:
        self.issuer, self.other_issuer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self._node, self._folder = node, folder
        self._process: subprocess.Popen[str] | None = None
        self._keys = {
            "rsa-1": new_rsa_key(),
            "ec-1": ECAlgorithm.to_jwk(generate_ec_key(SECP256R1()), as_dict=True),
            "ed-1": OKPAlgorithm.to_jwk(Ed25519PrivateKey.generate(), as_dict=True),
        }
        # Modules are looked up beside the program.
        shutil.copy(_PROGRAM, folder)
        (folder / "node_modules").symlink_to(node.folder / "node_modules")

    def start(self) -> None:
        self._write_keys()
        with (self._folder / "provider.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *(self._node.bin / "node", self._folder / _PROGRAM.name),
                    *(self._folder / "keys.json", self.issuer, self.other_issuer),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._wait_for_keys()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def change_keys(self, *, add: str | None = None, remove: str | None = None) -> None:
        """Rotate: add an RSA key of this name, remove another; returns when they are in use."""
        if add is not None:
            # The provider signs with the first key that fits.
            self._keys = {add: new_rsa_key(), **self._keys}
        if remove is not None:
            del self._keys[remove]
        self._write_keys()
        assert self._process is not None
        assert self._process.stdin is not None
        print(file=self._process.stdin, flush=True)
        self._wait_for_keys()

    def token(
        self,
        *,
        algorithm: str = "RS256",
        audience: str = AUDIENCE,
        scope: str = "classify",
        issuer: str | None = None,
    ) -> str:
        """An access token of the client `scanner`, granted for its credentials."""
        data = {"grant_type": "client_credentials", "scope": scope}
        data["resource"] = f"{audience}/{algorithm}"
        with plain_client(auth=("scanner", "a-secret-of-the-tests")) as client:
            answer = client.post(f"{issuer or self.issuer}/token", data=data)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def signed(self, header: dict[str, Any], claims: dict[str, Any]) -> str:
        """A token with these parts, signed with the provider's RSA key."""
        kid = header["kid"]
        key = jwt.PyJWK(self._keys[kid], algorithm="RS256").key
        return jwt.encode(claims, key, algorithm="RS256", headers=header)

    def public_key(self, kid: str) -> dict[str, Any]:
        """A key as everybody can fetch it."""
        with plain_client() as client:
            keys: list[dict[str, Any]] = client.get(f"{self.issuer}/jwks").json()["keys"]
        return next(key for key in keys if key["kid"] == kid)

    def _write_keys(self) -> None:
        keys = [{**key, "kid": kid, "use": "sig"} for kid, key in self._keys.items()]
        (self._folder / "keys.json").write_text(json.dumps({"keys": keys}))

    def _wait_for_keys(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        # Its notices about defaults come between.
        loaded = any(line == "loaded\n" for line in self._process.stdout)
        assert loaded, (self._folder / "provider.log").read_text()


def new_rsa_key() -> dict[str, Any]:
    """A private RSA key of 2048 bits, as a JSON Web Key without a name."""
    return RSAAlgorithm.to_jwk(generate_rsa_key(65537, 2048), as_dict=True)
