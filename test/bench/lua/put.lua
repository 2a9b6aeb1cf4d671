-- wrk -s put.lua URL -- KEYS VALUE_BYTES
package.path = debug.getinfo(1, "S").source:match("^@(.*/)") .. "?.lua"
require("common")

function init(args)
  math.randomseed(seed * 7919)
  keys = tonumber(args[1])
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  tail = '","value":"' .. base64(string.rep("v", tonumber(args[2]))) .. '"}'
end

function request()
  return wrk.format(nil, "/v3/kv/put", nil, '{"key":"' .. random_key(keys) .. tail)
end
