// @ts-check
'use strict'

// The scripts that run inside Redis or Valkey. Each names its key, so that a cluster runs it where the key is.

/**
 * Refuses a replica, which can be behind. If the user may not ask for the role, a write that changes nothing takes its place, which a
 * replica refuses.
 */
const REFUSES_REPLICA = `
local info = redis.pcall('INFO', 'replication')
if type(info) ~= 'string' then
  redis.call('HDEL', KEYS[1], '')
elseif string.find(info, 'role:slave', 1, true) then
  return redis.error_reply('READONLY this server is a replica')
end
`

/** Gives the value and its version. It is a script, so that no client sends it to a replica. */
const LOAD = `${REFUSES_REPLICA}
return redis.call('HMGET', KEYS[1], 'value', 'version')
`

/**
 * Keeps a value (ARGV[3]) if the version is still the expected one (ARGV[1], empty if there is to be none), and gives the new version
 * (ARGV[2]). A client that sends the script again finds its own version there. It writes again then: the server's answer about
 * durability is about what this connection has written.
 */
const COMMIT = `${REFUSES_REPLICA}
local version = redis.call('HGET', KEYS[1], 'version') or ''
if version ~= ARGV[1] and version ~= ARGV[2] then return false end
if version == '' and redis.call('EXISTS', KEYS[1]) == 1 then return false end
redis.call('HSET', KEYS[1], 'value', ARGV[3], 'version', ARGV[2])
redis.call('PERSIST', KEYS[1])
return ARGV[2]
`

/** Removes the value of a version (ARGV[1]). */
const REMOVE = `
if redis.call('HGET', KEYS[1], 'version') == ARGV[1] then redis.call('DEL', KEYS[1]) end
return false
`

module.exports = { COMMIT, LOAD, REMOVE }
