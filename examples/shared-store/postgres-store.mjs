// @ts-check
// The shared store of one account in PostgreSQL. `devices.mjs` uses it, and so does the command line:
//
//   npx ring-auth login --store-module ./postgres-store.mjs
//   npx ring-auth status --store-module ./postgres-store.mjs
//
// All hosts have the same database and the same account. Each has a `statePath` of its own, on its own disk.
//
//   npm install ring-auth pg
import pg from 'pg'
import { postgresStore } from 'ring-auth/stores'

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL ?? 'postgres://localhost/ring',
  // One connection is enough for one account: it is used for a moment, and never during a request to Ring.
  max: 1,
  connectionTimeoutMillis: 5000,
  // Without it, a connection that has died without a word is noticed after minutes.
  keepAlive: true,
})
// Without a listener, a lost connection would end the program.
pool.on('error', (error) => console.error(`PostgreSQL: ${error.message}`))

export default postgresStore(pool, {
  account: process.env.RING_ACCOUNT ?? 'home',
  statePath: process.env.STATE_PATH ?? './ring-auth-state',
})

/** Closes the connections, so that the program can end. */
export const close = () => pool.end()
