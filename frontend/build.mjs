// One script and one style sheet into the Python package. Formulas become MathML here, so that the page needs no TeX.
import { build } from "esbuild";
import { readFileSync } from "node:fs";
import temml from "temml";

// The page's policy allows no style within markup.
const plain = (mathml) => mathml.replaceAll(/ style="[^"]*"/g, "");

/** A score that is divided by √d, which a model may be without. */
const scaled = /\\frac\{(.+?)\}\{\\sqrt\{d\}\}/;

const formulas = {
  name: "formulas",
  setup(build) {
    build.onLoad({ filter: /formulas\.json$/ }, ({ path }) => {
      const written = JSON.parse(readFileSync(path, "utf8"));
      const all = Object.entries(written).flatMap(([key, tex]) =>
        scaled.test(tex)
          ? [
              [key, tex],
              [`${key}.unscaled`, tex.replace(scaled, "$1")],
            ]
          : [[key, tex]],
      );
      const drawn = all.map(([key, tex]) => [key, plain(temml.renderToString(tex, { displayMode: true }))]);
      return { contents: JSON.stringify(Object.fromEntries(drawn)), loader: "json" };
    });
  },
};

await build({
  entryPoints: { page: "src/main.tsx", model: "src/model/worker.ts" },
  outdir: "../src/zhuyi/microscope/page",
  bundle: true,
  minify: true,
  charset: "utf8",
  format: "iife",
  target: "es2022",
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "none",
  plugins: [formulas],
});
