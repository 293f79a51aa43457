// The same from CommonJS, where ring-client-api itself can only be imported as a type.
import { RingRestClient, clientApi } from 'ring-auth/rest-client'
import type { RingRestClient as Theirs } from 'ring-client-api/rest-client' with { 'resolution-mode': 'import' }

export const client: Theirs = new RingRestClient({ refreshToken: 'x', store: { type: 'memory' }, apiUrl: 'https://x' })
export const url: string = clientApi('x')
