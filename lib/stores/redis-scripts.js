// @ts-check
'use strict'

// The Lua scripts that run inside Redis or Valkey. Each names its key, so that a cluster runs it on the server of the key.

/**
 * Ends with an error on a replica, which can be behind. If the user of Redis may not call INFO, the script tries a write that changes
 * nothing: a replica refuses every write.
 */
const REFUSES_REPLICA = `
local info = redis.pcall('INFO', 'replication')
if type(info) ~= 'string' then
  redis.call('HDEL', KEYS[1], '')
elseif string.find(info, 'role:slave', 1, true) then
  return redis.error_reply('READONLY this server is a replica')
end
`

/** Returns the value and its version. This is a script, so that no client sends it to a replica. */
const LOAD = `${REFUSES_REPLICA}
return redis.call('HMGET', KEYS[1], 'value', 'version')
`

/**
 * Stores a value (ARGV[3]) if the version is still the expected one (ARGV[1]; empty if there must be no value yet), and returns the new
 * version (ARGV[2]). If a client sends the script twice, the second run finds the new version. It writes the value again, because
 * `WAITAOF` confirms only the writes of its own connection.
 */
const COMMIT = `${REFUSES_REPLICA}
local version = redis.call('HGET', KEYS[1], 'version') or ''
if version ~= ARGV[1] and version ~= ARGV[2] then return false end
if version == '' and redis.call('EXISTS', KEYS[1]) == 1 then return false end
redis.call('HSET', KEYS[1], 'value', ARGV[3], 'version', ARGV[2])
redis.call('PERSIST', KEYS[1])
return ARGV[2]
`

/** Removes the value if it has a certain version (ARGV[1]). */
const REMOVE = `
if redis.call('HGET', KEYS[1], 'version') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return false
`

module.exports = { COMMIT, LOAD, REMOVE }
