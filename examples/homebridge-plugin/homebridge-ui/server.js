// The server of the login page in the settings of this plugin. It needs no other code.
import { serve } from 'ring-auth/homebridge-ui'

serve({ platform: 'RingAuthExample' })
