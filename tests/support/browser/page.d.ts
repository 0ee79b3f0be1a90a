// What the scripts in web/ take from the page, for `npx -p typescript tsc -p jsconfig.json`. Frontends differ in it.

declare module "*/scripts/api.js" {
  export const api: any;
}
declare module "*/scripts/app.js" {
  export const app: any;
}
declare const LiteGraph: any;
