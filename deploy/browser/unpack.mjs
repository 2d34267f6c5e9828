// Unpacks the Chromium of the npm package into the folder that is named, with the fonts it comes with.
import { createReadStream, createWriteStream, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

const folder = resolve(process.argv[2]);
const tar = createRequire(`${folder}/`)("tar-fs");
const packed = `${folder}/node_modules/@sparticuz/chromium/bin`;
const unpacked = (name, target) =>
  pipeline(createReadStream(`${packed}/${name}.br`), createBrotliDecompress(), target);

await unpacked("chromium", createWriteStream(`${folder}/chromium`, { mode: 0o755 }));
for (const name of ["al2023.tar", "fonts.tar", "swiftshader.tar"]) {
  await unpacked(name, tar.extract(folder));
}
writeFileSync(`${folder}/fonts.conf`, `<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>${folder}/fonts</dir><cachedir>${folder}/fonts-cache</cachedir></fontconfig>
`);
