import { html, raw } from 'hono/html'

/** What a page loads: paths of its script, of what that imports at once, and of the style. */
export interface PageAssets {
  readonly script: string
  readonly preload: readonly string[]
  readonly style: string
}

/** The frame of every page. What it shows is asked for by its script, with the token of whoever looks. */
export const pageOf = ({ script, preload, style }: PageAssets) => html`${raw('<!doctype html>')}
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width" />
    <meta name="color-scheme" content="light dark" />
    <title>Sotto</title>
    <link rel="icon" href="/assets/icon.svg" />
    <link rel="stylesheet" href="${style}" />
    ${preload.map((path) => html`<link rel="modulepreload" href="${path}" />`)}
    <script type="module" src="${script}"></script>
  </head>
  <body>
    <div id="app">
      <header class="top"><a class="brand" href="/runs">sotto</a></header>
      <main><noscript><p>This page is drawn by its script, which is served from here and asks nobody else.</p></noscript></main>
    </div>
  </body>
</html>
`
