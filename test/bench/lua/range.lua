-- wrk -s range.lua URL -- KEYS linearizable|serializable
package.path = debug.getinfo(1, "S").source:match("^@(.*/)") .. "?.lua"
require("common")

function init(args)
  math.randomseed(seed * 7919)
  keys = tonumber(args[1])
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  tail = args[2] == "serializable" and '","serializable":true}' or '"}'
end

function request()
  return wrk.format(nil, "/v3/kv/range", nil, '{"key":"' .. random_key(keys) .. tail)
end
