// @ts-check
// The shared store of one account in PostgreSQL. `devices.mjs` uses it, and so does the command line:
//
//   npx ring-auth login --store-module ./postgres-store.mjs
//   npx ring-auth status --store-module ./postgres-store.mjs
//
// All hosts use the same database and the same account. Each host has its own `statePath`, on its own disk.
//
//   npm install ring-auth pg
import pg from 'pg'
import { postgresStore } from 'ring-auth/stores'

const pool = new pg.Pool({
  connectionString: process.env.DATABASE_URL ?? 'postgres://localhost/ring',
  // One connection is enough for one account: the store uses it briefly, and never during a request to Ring.
  max: 1,
  connectionTimeoutMillis: 5000,
  // Without it, the client may notice only after minutes that the server is gone.
  keepAlive: true,
})
// Without this listener, a lost connection would end the program.
pool.on('error', (error) => console.error(`PostgreSQL: ${error.message}`))

export default postgresStore(pool, {
  account: process.env.RING_ACCOUNT ?? 'home',
  statePath: process.env.STATE_PATH ?? './ring-auth-state',
})

/** Closes the connections, so that the program can end. */
export const close = () => pool.end()
