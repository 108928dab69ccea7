import { config } from 'zod'

// Before any schema is made: zod would try to compile it from text, which these pages allow nobody.
config({ jitless: true })
