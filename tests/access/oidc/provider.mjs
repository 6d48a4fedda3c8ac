// An OpenID Connect provider for tests, at one or more issuers that share their signing keys.
//
//   node provider.mjs KEYS_FILE ISSUER...
//
// KEYS_FILE is a JWK Set with private keys. It is read at start and again for each line on standard
// input; each time, a line on standard output says that the keys are in use. The client `scanner`
// may ask for an access token (RFC 9068) with `resource=https://AUDIENCE/ALGORITHM`.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import Provider, { errors } from 'oidc-provider';

const [keysFile, ...issuers] = process.argv.slice(2);
const SCOPES = 'classify explain models:write';

function createProvider(issuer) {
  return new Provider(issuer, {
    jwks: JSON.parse(readFileSync(keysFile, 'utf8')),
    clients: [{
      client_id: 'scanner',
      client_secret: 'a-secret-of-the-tests',
      grant_types: ['client_credentials'],
      redirect_uris: [],
      response_types: [],
    }],
    enabledJWA: { requestObjectSigningAlgValues: ['RS256'] },
    extraTokenClaims: () => ({ permissions: ['explain', 'unknown-to-the-service'] }),
    features: {
      clientCredentials: { enabled: true },
      devInteractions: { enabled: false },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo(ctx, resource) {
          const { host, pathname } = new URL(resource);
          if (!host) throw new errors.InvalidTarget();
          return {
            scope: SCOPES,
            audience: `https://${host}`,
            accessTokenFormat: 'jwt',
            accessTokenTTL: 3600,
            jwt: { sign: { alg: pathname.slice(1) } },
          };
        },
      },
    },
  });
}

const handlers = new Map();

function load() {
  for (const issuer of issuers) handlers.set(issuer, createProvider(issuer).callback());
  console.log('loaded');
}

for (const issuer of issuers) {
  const server = createServer((request, response) => handlers.get(issuer)(request, response));
  server.keepAliveTimeout = 1;
  await new Promise((done) => server.listen(new URL(issuer).port, '127.0.0.1', done));
}
load();
createInterface({ input: process.stdin }).on('line', load).on('close', () => process.exit(0));
