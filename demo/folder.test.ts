import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { DemoFolder } from './folder.ts'

const split = {
  public: [],
  test: [],
  mailboxes: { north: [{ text: 'hello', label: 'ham' as const }], east: [], west: [] },
}

describe('the folder of the demo', () => {
  it('never empties a folder that is not its own', () => {
    const path = mkdtempSync(join(tmpdir(), 'sotto-folder-'))
    writeFileSync(join(path, 'thesis.tex'), 'three years')
    expect(() => new DemoFolder(path).prepare(split)).toThrow('not empty')
    expect(readFileSync(join(path, 'thesis.tex'), 'utf8')).toBe('three years')
  })

  it('begins anew in its own, and goes on only with a run that has not finished', () => {
    const folder = new DemoFolder(join(mkdtempSync(join(tmpdir(), 'sotto-folder-')), 'demo'))
    folder.prepare(split)
    const saved = { coordinator: 'node' as const, adminToken: 'a', run: 'run-1', tokens: {}, finished: false }
    folder.save(saved)
    expect(folder.saved()).toEqual(saved)
    folder.save({ ...saved, finished: true })
    expect(folder.saved()).toBeNull()
    folder.prepare(split)
    expect(JSON.parse(readFileSync(folder.mailbox('north'), 'utf8'))).toEqual({ text: 'hello', label: 'ham' })
  })
})
