import js from "@eslint/js";
import typescript from "typescript-eslint";

export default typescript.config(
  { ignores: ["src/wire.ts"] },
  js.configs.recommended,
  ...typescript.configs.strict,
  { rules: { "@typescript-eslint/no-non-null-assertion": "off" } },
  { files: ["*.mjs"], languageOptions: { globals: { console: "readonly", process: "readonly" } } },
);
