-- What a gateway of nginx and Lua does with a client's token: its signature by OpenSSL,
-- and its claims by cjson.
--
-- Owns both, and which tokens are known again: those that one worker verified, each for
-- five minutes at the most and never beyond its `exp`.

local ffi = require "ffi"
local base64 = require "ngx.base64"
local cjson = require "cjson.safe"
require "resty.core"

ffi.cdef [[
void *BIO_new_file(const char *name, const char *mode);
int BIO_free(void *bio);
void *PEM_read_bio_PUBKEY(void *bio, void **key, void *callback, void *user);
void *EVP_sha256(void);
void *EVP_MD_CTX_new(void);
void EVP_MD_CTX_free(void *context);
int EVP_DigestVerifyInit(void *context, void **key_context, const void *digest, void *engine, void *key);
int EVP_DigestVerify(void *context, const char *signature, size_t signature_length, const char *text, size_t length);
void *ECDSA_SIG_new(void);
void ECDSA_SIG_free(void *signature);
int ECDSA_SIG_set0(void *signature, void *r, void *s);
int i2d_ECDSA_SIG(const void *signature, unsigned char **to);
void *BN_bin2bn(const char *from, int length, void *to);
void ERR_clear_error(void);
]]

local C = ffi.C
local der, to = ffi.new("unsigned char[80]"), ffi.new("unsigned char *[1]")
local sha256 = C.EVP_sha256()
local keys, wanted, known = {}, {}, nil

local function key(path)
  local bio = C.BIO_new_file(path, "r")
  assert(bio ~= nil, path)
  local read = C.PEM_read_bio_PUBKEY(bio, nil, nil, nil)
  C.BIO_free(bio)
  assert(read ~= nil, path)
  return read
end

-- JWS has r and s as they are, OpenSSL wants DER.
local function as_der(signature)
  if #signature ~= 64 then return nil end
  local pair = C.ECDSA_SIG_new()
  C.ECDSA_SIG_set0(pair, C.BN_bin2bn(signature:sub(1, 32), 32, nil), C.BN_bin2bn(signature:sub(33), 32, nil))
  to[0] = der
  local length = C.i2d_ECDSA_SIG(pair, to)
  C.ECDSA_SIG_free(pair)
  return ffi.string(der, length)
end

local function signed(algorithm, text, signature)
  if algorithm == "ES256" then signature = as_der(signature) end
  if not signature then return false end
  local context = C.EVP_MD_CTX_new()
  local good = C.EVP_DigestVerifyInit(context, nil, sha256, nil, keys[algorithm]) == 1
    and C.EVP_DigestVerify(context, signature, #signature, text, #text) == 1
  C.EVP_MD_CTX_free(context)
  -- What is left there would be found by nginx's own TLS.
  if not good then C.ERR_clear_error() end
  return good
end

local function has(audience)
  if type(audience) ~= "table" then return audience == wanted.aud end
  for _, one in ipairs(audience) do
    if one == wanted.aud then return true end
  end
  return false
end

-- `exp` of a token that counts, or nil.
local function verified(algorithm, token)
  local first = token:find(".", 1, true)
  local second = first and token:find(".", first + 1, true)
  if not second then return nil end
  local head = cjson.decode(base64.decode_base64url(token:sub(1, first - 1)) or "")
  local claims = cjson.decode(base64.decode_base64url(token:sub(first + 1, second - 1)) or "")
  local signature = base64.decode_base64url(token:sub(second + 1))
  if type(head) ~= "table" or type(claims) ~= "table" or not signature or head.alg ~= algorithm then return nil end
  if claims.iss ~= wanted.iss or not has(claims.aud) or type(claims.exp) ~= "number" or claims.exp <= ngx.time() then return nil end
  if not signed(algorithm, token:sub(1, second - 1), signature) then return nil end
  return claims.exp
end

local gateway = {}

function gateway.init(folder, issuer, audience, kept)
  keys = { ES256 = key(folder .. "/es256.pub"), RS256 = key(folder .. "/rs256.pub") }
  wanted = { iss = issuer, aud = audience }
  if kept > 0 then known = { ES256 = require("resty.lrucache").new(kept), RS256 = require("resty.lrucache").new(kept) } end
end

function gateway.verified(algorithm)
  local field = ngx.var.http_authorization
  if not field or field:sub(1, 7) ~= "Bearer " then return ngx.exit(401) end
  local token = field:sub(8)
  local expires = known and known[algorithm]:get(token)
  if not expires then
    expires = verified(algorithm, token)
    if expires and known then known[algorithm]:set(token, expires, 300) end
  end
  if not expires or expires <= ngx.time() then return ngx.exit(401) end
  ngx.req.clear_header("Authorization")
end

return gateway
