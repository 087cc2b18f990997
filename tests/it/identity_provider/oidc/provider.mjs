// An OpenID Connect provider with keys of its own, at a port that it says on its first
// line. `/rotate` gives it another key: new ones come, old ones stay in its key set.
import http from 'node:http'
import { generateKeyPairSync } from 'node:crypto'
import Provider from 'oidc-provider'

const API = 'https://api.example.com'

function key(kind, kid) {
  const [type, options, alg] =
    kind === 'rsa' ? ['rsa', { modulusLength: 2048 }, 'RS256'] : ['ec', { namedCurve: 'P-256' }, 'ES256']
  const { privateKey } = generateKeyPairSync(type, options)
  return { ...privateKey.export({ format: 'jwk' }), kid, use: 'sig', alg }
}

const keys = [key('rsa', 'first-rsa'), key('ec', 'first-ec')]

function provider(issuer) {
  return new Provider(issuer, {
    jwks: { keys },
    clients: [
      {
        client_id: 'shop',
        client_secret: 'a secret of the shop',
        redirect_uris: [`${issuer}/back`],
        grant_types: ['authorization_code', 'client_credentials'],
        response_types: ['code'],
        id_token_signed_response_alg: 'RS256',
      },
    ],
    scopes: ['openid', 'products.read', 'orders.write'],
    cookies: { keys: ['for tests alone'] },
    pkce: { required: () => false },
    features: {
      devInteractions: { enabled: true },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => API,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'products.read orders.write',
          audience: 'api',
          accessTokenTTL: 600,
          accessTokenFormat: 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  }).callback()
}

let answer
const server = http.createServer((request, response) => {
  if (request.url === '/rotate') {
    keys.unshift(key('ec', `ec-${keys.length}`))
    answer = provider(issuer)
    response.end()
    return
  }
  answer(request, response)
})
let issuer
server.listen(0, '127.0.0.1', () => {
  issuer = `http://127.0.0.1:${server.address().port}`
  answer = provider(issuer)
  console.log(issuer)
})
// It ends with the test that started it.
process.stdin.resume().on('end', () => process.exit())
