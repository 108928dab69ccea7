import { NodeStorage } from '../../coordinator/hosts/node-storage.ts'

/** What a backup of an actor's database has, in a database of its own: every table, index and trigger. */
export function backupOf(storage: NodeStorage): NodeStorage {
  const copy = new NodeStorage(':memory:')
  const made = storage.sql.exec('SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL').toArray()
  const own = made.filter(({ name }) => !String(name).startsWith('sqlite_'))
  for (const { sql } of own.filter(({ type }) => type === 'table')) copy.sql.exec(String(sql))
  for (const { name } of own.filter(({ type }) => type === 'table')) {
    for (const row of storage.sql.exec(`SELECT * FROM "${name}" ORDER BY rowid`).toArray()) {
      const values = Object.values(row)
      copy.sql.exec(`INSERT INTO "${name}" VALUES (${values.map(() => '?').join(',')})`, ...values)
    }
  }
  for (const { sql } of own.filter(({ type }) => type !== 'table')) copy.sql.exec(String(sql))
  return copy
}
