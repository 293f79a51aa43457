// @ts-check
// The shared store of one account in Redis or Valkey. `devices.mjs` uses it, and so does the command line:
//
//   npx ring-auth login --store-module ./redis-store.mjs
//   npx ring-auth status --store-module ./redis-store.mjs
//
// All hosts use the same server and the same account. Each host has its own `statePath`, on its own disk.
//
//   npm install ring-auth ioredis
import { Redis } from 'ioredis'
import { redisStore } from 'ring-auth/stores'

// The store has a connection of its own, because WAITAOF makes all commands of a connection wait for the disk.
const redis = new Redis(process.env.REDIS_URL ?? 'redis://localhost', {
  // With these values, a call fails within ten seconds. The manager waits no longer, and tries again later.
  maxRetriesPerRequest: 3,
  connectTimeout: 5000,
})
redis.on('error', (error) => console.error(`Redis: ${error.message}`))

export default redisStore(redis, {
  account: process.env.RING_ACCOUNT ?? 'home',
  statePath: process.env.STATE_PATH ?? './ring-auth-state',
  // Use 'always' for Redis before 7.2 with the setting `appendfsync always`.
  durable: process.env.REDIS_DURABLE === 'always' ? 'always' : 'waitaof',
})

/** Closes the connection, so that the program can end. */
export const close = async () => redis.disconnect()
