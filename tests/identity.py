"""Who asks a server, and what they may read: tokens of a real identity provider, and declared permissions."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

PERMISSIONS = [
    {"domain": "risk", "roles": ["risk_reader", "auditor"]},
    {"domain": "marketing", "roles": ["marketing_reader"]},
]


class IdentityProvider:
    """Signs tokens, and publishes by HTTP how to check them, as OpenID Connect has it."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = {"keys": [{**public, "kid": "1", "use": "sig", "alg": "RS256"}]}
                if self.path != "/keys":
                    names = ("authorization_endpoint", "token_endpoint")
                    answer = {**dict.fromkeys(names, provider.url), "jwks_uri": f"{provider.url}/keys"}
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def auth(self) -> dict[str, str]:
        """The config's `[auth]` by which a state asks it."""
        return {"type": "oidc", "auth_discovery_url": self.url, "client_id": "feast"}

    def token(self, *roles: str, key: Any = None) -> dict[str, str]:
        """The header of a request by somebody with these roles."""
        claims = {"preferred_username": "somebody", "roles": list(roles), "exp": int(time.time()) + 3600}
        signed = jwt.encode(claims, key or self.key, algorithm="RS256", headers={"kid": "1"})
        return {"Authorization": f"Bearer {signed}"}

    def close(self) -> None:
        """Answer nobody any more."""
        self.server.shutdown()
        self.server.server_close()
