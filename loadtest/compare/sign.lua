-- What a gateway of nginx and Lua does for each request: counts it in a shared
-- dictionary, and sends a token on that OpenSSL signed.
--
-- Owns the token, its signature and that count; nothing is parsed that came from
-- outside. `kept` sends a token again for half of its life, as Tollgate does.

local ffi = require "ffi"
local base64 = require "ngx.base64"
require "resty.core"

ffi.cdef [[
void *BIO_new_file(const char *name, const char *mode);
int BIO_free(void *bio);
void *PEM_read_bio_PrivateKey(void *bio, void **key, void *callback, void *user);
void *EVP_sha256(void);
unsigned char *HMAC(const void *digest, const void *key, int key_length, const char *text, size_t length,
                    unsigned char *out, unsigned int *out_length);
void *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(void *context);
int EVP_DigestSignInit(void *context, void **key_context, const void *digest, void *engine, void *key);
int EVP_DigestSign(void *context, unsigned char *out, size_t *out_length, const char *text, size_t length);
void *d2i_ECDSA_SIG(void **into, const unsigned char **from, long length);
void ECDSA_SIG_get0(const void *signature, const void **r, const void **s);
void ECDSA_SIG_free(void *signature);
int BN_bn2binpad(const void *number, unsigned char *to, int length);
]]

local C = ffi.C
local out, out_length = ffi.new("unsigned char[512]"), ffi.new("size_t[1]")
local short_length = ffi.new("unsigned int[1]")
local raw, der = ffi.new("unsigned char[64]"), ffi.new("const unsigned char *[1]")
local r, s = ffi.new("const void *[1]"), ffi.new("const void *[1]")
local secret = string.rep("k", 32)
local sha256 = C.EVP_sha256()

local function key(path)
  local bio = C.BIO_new_file(path, "r")
  assert(bio ~= nil, path)
  local read = C.PEM_read_bio_PrivateKey(bio, nil, nil, nil)
  C.BIO_free(bio)
  assert(read ~= nil, path)
  return read
end

local function signed(private, text)
  local context = C.EVP_MD_CTX_new()
  out_length[0] = 512
  local done = C.EVP_DigestSignInit(context, nil, sha256, nil, private) == 1
    and C.EVP_DigestSign(context, out, out_length, text, #text) == 1
  C.EVP_MD_CTX_free(context)
  assert(done, "signing failed")
  return tonumber(out_length[0])
end

local sign = {}

function sign.HS256(_, text)
  C.HMAC(sha256, secret, #secret, text, #text, out, short_length)
  return ffi.string(out, 32)
end

function sign.RS256(private, text)
  return ffi.string(out, signed(private, text))
end

-- JWS wants r and s as they are, OpenSSL gives DER.
function sign.ES256(private, text)
  local length = signed(private, text)
  der[0] = out
  local signature = C.d2i_ECDSA_SIG(nil, der, length)
  C.ECDSA_SIG_get0(signature, r, s)
  C.BN_bn2binpad(r[0], raw, 32)
  C.BN_bn2binpad(s[0], raw + 32, 32)
  C.ECDSA_SIG_free(signature)
  return ffi.string(raw, 64)
end

local keys, heads = {}, {}
for _, algorithm in ipairs { "HS256", "RS256", "ES256" } do
  heads[algorithm] = base64.encode_base64url('{"alg":"' .. algorithm .. '","typ":"JWT","kid":"a"}')
end

local function token(algorithm, route, bound)
  local now = ngx.time()
  local claims = string.format(
    '{"iss":"https://gateway.test","aud":"origin","iat":%d,"nbf":%d,"exp":%d,"jti":"%s","client_ip":"%s","route":"%s"%s}',
    now - 5, now - 5, now + 30, ngx.var.request_id, ngx.var.remote_addr, route,
    bound and string.format(',"htm":"%s","htu":"%s"', ngx.req.get_method(), ngx.var.uri) or "")
  local text = heads[algorithm] .. "." .. base64.encode_base64url(claims)
  return text .. "." .. base64.encode_base64url(sign[algorithm](keys[algorithm], text))
end

local gateway = {}

function gateway.init(folder)
  keys = { ES256 = key(folder .. "/es256/a.pem"), RS256 = key(folder .. "/rs256/a.pem") }
end

function gateway.limit()
  local counted = ngx.shared.counts:incr("one:" .. ngx.time(), 1, 0, 2)
  if counted > 1000000 then return ngx.exit(429) end
end

function gateway.each(algorithm, route)
  gateway.limit()
  ngx.req.set_header("jwt", token(algorithm, route, true))
end

function gateway.kept(route)
  gateway.limit()
  local id = ngx.var.remote_addr .. " " .. route
  local kept = ngx.shared.tokens:get(id)
  if not kept then
    kept = token("ES256", route, false)
    ngx.shared.tokens:set(id, kept, 15)
  end
  ngx.req.set_header("jwt", kept)
end

return gateway
