// A CommonJS project in TypeScript.
import ringAuth = require('ring-auth')

const manager: ringAuth.RingTokenManager = new ringAuth.RingTokenManager({ store: { type: 'memory' } })

async function main(): Promise<ringAuth.Auth> {
  try {
    return await manager.getAuth()
  } catch (error) {
    if (error instanceof ringAuth.RingAuthError && error.code === 'CLOSED') throw new Error(error.message)
    throw error
  }
}

export = { main, parsed: ringAuth.parseRefreshToken('token').raw }
