// Logs a person in at the provider as a browser would, and prints the tokens that the
// shop then gets: node login.mjs ISSUER PERSON SCOPE
const [issuer, person, scope] = process.argv.slice(2)
const cookies = new Map()

async function visit(url, form) {
  const answer = await fetch(url, {
    method: form ? 'POST' : 'GET',
    body: form && new URLSearchParams(form),
    headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join('; ') },
    redirect: 'manual',
  })
  for (const line of answer.headers.getSetCookie()) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)
    cookies.set(name, value)
  }
  return answer
}

async function follow(url, form) {
  let answer = await visit(url, form)
  while (answer.status >= 300 && answer.status < 400) {
    const next = new URL(answer.headers.get('location'), issuer)
    if (next.pathname === '/back') return next
    url = next
    answer = await visit(next)
  }
  return { page: await answer.text(), url }
}

const asked = { client_id: 'shop', response_type: 'code', scope, redirect_uri: `${issuer}/back` }
let at = await follow(`${issuer}/auth?${new URLSearchParams(asked)}`)
for (const form of [{ prompt: 'login', login: person, password: 'any' }, { prompt: 'consent' }]) {
  if (!at.page) break
  at = await follow(at.url, form)
}
const code = at.searchParams?.get('code')
if (!code) throw new Error(`nobody is logged in: ${at.page ?? at}`)

const form = { grant_type: 'authorization_code', code, redirect_uri: `${issuer}/back` }
const basic = Buffer.from(`shop:${encodeURIComponent('a secret of the shop').replaceAll('%20', '+')}`)
const answer = await fetch(`${issuer}/token`, {
  method: 'POST',
  body: new URLSearchParams(form),
  headers: { authorization: `Basic ${basic.toString('base64')}` },
})
console.log(JSON.stringify(await answer.json()))
