// Probot as its documentation sets it up, with its own server; nothing is stored.
//   node probot.mjs FOLDER   (FOLDER has node_modules/probot; settings are in the environment)
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const found = createRequire(`${process.argv[2]}/`).resolve("probot");
const { run } = await import(pathToFileURL(found).href);

await run((app) => {
  app.on("issue_comment.created", async (context) => {
    const lines = context.payload.comment.body.split("\n");
    return lines.some((line) => line.startsWith("/"));
  });
});
