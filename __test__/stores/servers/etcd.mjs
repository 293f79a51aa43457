// @ts-check
// etcd, with the HTTP gateway that it has by itself.
import { join } from 'node:path'
import { freePort } from '../../support/index.mjs'
import { folder, locate, remove, start } from './process.mjs'

const ETCD = locate('etcd')

/** Whether this machine has it. */
export const hasEtcd = ETCD !== undefined

/** A cluster of one. */
export async function startEtcd() {
  const base = folder()
  const [url, peer] = [`http://127.0.0.1:${await freePort()}`, `http://127.0.0.1:${await freePort()}`]
  const command = [
    String(ETCD),
    ...['--data-dir', join(base, 'data'), '--listen-client-urls', url, '--advertise-client-urls', url],
    ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer, '--initial-cluster', `default=${peer}`],
  ]
  const begin = () =>
    start(command, async () => {
      const answer = await fetch(`${url}/health`)
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`)
    })
  let server = await begin()
  return {
    url,
    kill: () => server.end('SIGKILL'),
    again: async () => void (server = await begin()),
    async end() {
      await server.end()
      remove(base)
    },
  }
}
