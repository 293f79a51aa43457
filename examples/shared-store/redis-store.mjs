// @ts-check
// The shared store of one account in Redis or Valkey. `devices.mjs` uses it, and so does the command line:
//
//   npx ring-auth login --store-module ./redis-store.mjs
//   npx ring-auth status --store-module ./redis-store.mjs
//
// All hosts have the same server and the same account. Each has a `statePath` of its own, on its own disk.
//
//   npm install ring-auth ioredis
import { Redis } from 'ioredis'
import { redisStore } from 'ring-auth/stores'

// A connection of its own: WAITAOF makes all commands of a connection wait for the disk.
const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost', {
  // A call then fails within the ten seconds that the manager grants it, and the manager looks again later.
  maxRetriesPerRequest: 3,
  connectTimeout: 5000,
})
redis.on('error', (error) => console.error(`Redis: ${error.message}`))

export default redisStore(redis, {
  account: process.env.RING_ACCOUNT ?? 'home',
  statePath: process.env.STATE_PATH ?? './ring-auth-state',
  // With Redis before 7.2, and `appendfsync always` in its settings: 'always'.
  durable: process.env.REDIS_DURABLE === 'always' ? 'always' : 'waitaof',
})

/** Closes the connection, so that the program can end. */
export const close = async () => redis.disconnect()
