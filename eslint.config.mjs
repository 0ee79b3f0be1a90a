// The scripts of the editor: npx eslint web. The version stands in .github/workflows/lint.yml.

const GLOBALS =
  "CSS LiteGraph MutationObserver ResizeObserver URL URLSearchParams clearTimeout document navigator performance queueMicrotask requestAnimationFrame setTimeout structuredClone window";
const RULES = `
  array-callback-return consistent-return eqeqeq no-const-assign no-constant-condition no-dupe-else-if no-dupe-keys
  no-duplicate-imports no-empty no-eval no-fallthrough no-implied-eval no-import-assign no-invalid-regexp no-loss-of-precision
  no-promise-executor-return no-prototype-builtins no-redeclare no-self-assign no-self-compare no-setter-return
  no-shadow no-undef no-unmodified-loop-condition no-unreachable no-unsafe-finally no-unsafe-optional-chaining
  no-unused-expressions no-unused-vars no-useless-assignment no-useless-catch no-useless-escape no-useless-return no-var
  object-shorthand prefer-const require-await use-isnan valid-typeof`;

const all = (names, value) => Object.fromEntries(names.trim().split(/\s+/).map((name) => [name, value]));

export default [
  {
    files: ["web/*.js"],
    languageOptions: { globals: all(GLOBALS, "readonly") },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: { ...all(RULES, "error"), "max-lines-per-function": ["error", 60] },
  },
];
