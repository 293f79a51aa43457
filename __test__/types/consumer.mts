// An ES module in TypeScript, with `await using`.
import { RingTokenManager } from 'ring-auth'
// biome-ignore lint/style/useImportType: the value is what is looked at
import * as everything from 'ring-auth'

export async function main(): Promise<string> {
  await using manager = new RingTokenManager({ store: { type: 'file', path: './ring-auth.json' } })
  const disposable: AsyncDisposable = manager
  void disposable
  return manager.getAccessToken({ signal: AbortSignal.timeout(5000) })
}

export const names: readonly (keyof typeof everything)[] = [
  'RingTokenManager',
  'RingAuthError',
  'attachToRingApi',
  'parseRefreshToken',
]
