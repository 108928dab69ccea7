/** Of the reference page: light and dark, one column on a narrow screen. */
export const STYLE = `:root { color-scheme: light dark; --line: #8884; --soft: light-dark(#555, #aaa); }
* { box-sizing: border-box; }
body { margin: 0; background: light-dark(#fff, #111); color: light-dark(#111, #eee); font: 15px/1.5 system-ui, sans-serif; display: grid; grid-template-columns: 20rem minmax(0, 1fr); }
nav { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 1rem; border-right: 1px solid var(--line); font-size: 13px; }
nav h2 { font-size: 13px; margin: 1rem 0 0.25rem; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav a { overflow-wrap: anywhere; }
main { padding: 1rem 2rem; max-width: 70rem; }
section { border-top: 1px solid var(--line); padding: 0.5rem 0 1rem; scroll-margin-top: 0; }
h3 { margin: 0.5rem 0; overflow-wrap: anywhere; }
h4 { margin: 1rem 0 0.25rem; }
a { color: light-dark(#0550ae, #79c0ff); }
table { border-collapse: collapse; width: 100%; margin: 0.25rem 0 0.5rem; }
th, td { text-align: left; vertical-align: top; padding: 0.25rem 0.5rem; border: 1px solid var(--line); font-weight: normal; overflow-wrap: anywhere; }
th { min-width: 3.5rem; }
thead th { color: var(--soft); }
code { font: 0.9em ui-monospace, monospace; overflow-wrap: anywhere; }
.optional { color: var(--soft); font-size: 12px; }
.method { font: 600 11px ui-monospace, monospace; }
:target { outline: 2px solid; outline-offset: 4px; }
@media (max-width: 60rem) { body { display: block; } nav { position: static; height: auto; max-height: 40vh; border-right: 0; border-bottom: 1px solid var(--line); } main { padding: 1rem; } table, tbody, tr, th, td { display: block; } thead { display: none; } td, th { border-width: 0; padding: 0.125rem 0.5rem; } tr { border-left: 2px solid var(--line); margin: 0.5rem 0; } }
`
