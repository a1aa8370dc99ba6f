"""Hadoop itself on loopback, from its own jars (tools/hadoop/fetch): NameNode, DataNode, HttpFS, and MapReduce in one process."""
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import urllib.parse

import matinee

JARS = matinee.ROOT / 'build-hadoop' / 'jars'
USER = 'matinee'
SECONDS_TO_START = 90

NAMENODE = 'org.apache.hadoop.hdfs.server.namenode.NameNode'
DATANODE = 'org.apache.hadoop.hdfs.server.datanode.DataNode'
HTTPFS = 'org.apache.hadoop.fs.http.server.HttpFSServerWebServer'
STREAMING = 'org.apache.hadoop.streaming.HadoopStreaming'
SHELL = 'org.apache.hadoop.fs.FsShell'


def is_here():
    return shutil.which('java') is not None and any(JARS.glob('hadoop-hdfs-3*.jar'))


def write_config(path, values):
    path.write_text('<?xml version="1.0"?>\n<configuration>\n' + ''.join(
        f'<property><name>{name}</name><value>{value}</value></property>\n' for name, value in values.items()) + '</configuration>\n')


class Hadoop:
    """One NameNode and one DataNode; `url` is what --storage takes. Ports are kept over restarts. `datanode` is what others call that one."""

    def __init__(self, folder, datanode='127.0.0.1'):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.port, self.rpc, self.httpfs_port = matinee.free_port(), matinee.free_port(), matinee.free_port()
        data, self.data_port, data_ipc = matinee.free_port(), matinee.free_port(), matinee.free_port()
        self.config = self.folder / 'conf'
        self.config.mkdir()
        write_config(self.config / 'core-site.xml', {
            'fs.defaultFS': f'hdfs://127.0.0.1:{self.rpc}', 'hadoop.tmp.dir': self.folder / 'tmp',
            f'hadoop.proxyuser.{USER}.hosts': '*', f'hadoop.proxyuser.{USER}.groups': '*'})
        write_config(self.config / 'hdfs-site.xml', {
            'dfs.replication': 1, 'dfs.namenode.name.dir': self.folder / 'name', 'dfs.datanode.data.dir': self.folder / 'blocks',
            'dfs.namenode.http-address': f'127.0.0.1:{self.port}', 'dfs.datanode.hostname': datanode,
            'dfs.datanode.address': f'127.0.0.1:{data}', 'dfs.datanode.http.address': f'127.0.0.1:{self.data_port}',
            'dfs.datanode.ipc.address': f'127.0.0.1:{data_ipc}', 'dfs.heartbeat.interval': 1,
            'dfs.namenode.heartbeat.recheck-interval': 2000, 'dfs.namenode.safemode.extension': 0,
            # A DataNode that writes for a WebHDFS client asks once whether its own block is known, and waits so long before it asks again.
            'dfs.client.block.write.locateFollowingBlock.initial.delay.ms': 10})
        write_config(self.config / 'mapred-site.xml', {'mapreduce.framework.name': 'local'})
        write_config(self.config / 'httpfs-site.xml', {'httpfs.http.hostname': '127.0.0.1', 'httpfs.http.port': self.httpfs_port,
                                                       f'httpfs.proxyuser.{USER}.hosts': '*'})
        (self.config / 'httpfs-signature.secret').write_text('a secret of this test alone')
        (self.config / 'log4j.properties').write_text(
            'log4j.rootLogger=INFO,out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n'
            'log4j.appender.out.layout=org.apache.log4j.PatternLayout\nlog4j.appender.out.layout.ConversionPattern=%d %p %c: %m%n\n')
        (self.config / 'httpfs-log4j.properties').write_text((self.config / 'log4j.properties').read_text())
        for name in ('hdfs', 'datanode', 'secondary'):  # pages for people: not in the jars, and wanted all the same
            (self.config / 'webapps' / name / 'WEB-INF').mkdir(parents=True)
            (self.config / 'webapps' / name / 'WEB-INF' / 'web.xml').write_text('<web-app/>')
        self.processes = {}

    # --- Java ---------------------------------------------------------------------------------------

    def words(self, main, *arguments, memory='256m', defines=()):
        return ['java', f'-Xmx{memory}', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1', '-XX:-UsePerfData', f'-Djava.io.tmpdir={self.folder}',
                f'-Dhadoop.log.dir={self.folder}', '-Djava.net.preferIPv4Stack=true', '--add-opens=java.base/java.lang=ALL-UNNAMED',
                *defines, '-cp', f'{self.config}:{JARS}/*', main,
                *map(str, arguments)]

    @property
    def environment(self):
        return {**os.environ, 'HADOOP_USER_NAME': USER, 'HADOOP_CONF_DIR': str(self.config)}

    def run(self, name, main, *arguments, **options):
        log = open(self.folder / f'{name}.log', 'ab')
        self.processes[name] = subprocess.Popen(self.words(main, *arguments, **options), stdin=subprocess.DEVNULL, stdout=log,
                                                stderr=subprocess.STDOUT, env=self.environment, cwd=self.folder)

    def do(self, main, *arguments, seconds=180, **options):
        done = subprocess.run(self.words(main, *arguments, **options), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=seconds, env=self.environment, cwd=self.folder)
        assert done.returncode == 0, (main, arguments, done.stdout[-2000:], done.stderr[-4000:])
        return done.stdout

    def stream(self, *arguments, seconds=300):
        """A job of Hadoop Streaming, in this process's own JobTracker, over HDFS: what it said."""
        done = subprocess.run(self.words(STREAMING, *arguments, memory='512m'), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=seconds, env=self.environment, cwd=self.folder)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-3000:]
        return done.stdout + done.stderr

    # --- its life -----------------------------------------------------------------------------------

    def start(self):
        if not (self.folder / 'name').exists():
            self.do(NAMENODE, '-format', '-nonInteractive')
        self.run('namenode', NAMENODE)
        self.start_datanode()
        return self

    def start_datanode(self):
        self.run('datanode', DATANODE)
        matinee.until(self.takes_files, SECONDS_TO_START, 'HDFS taking files')

    def start_httpfs(self):
        home = self.folder
        defines = [f'-Dhttpfs.home.dir={home}', f'-Dhttpfs.config.dir={self.config}', f'-Dhttpfs.log.dir={home}', f'-Dhttpfs.temp.dir={home}']
        self.run('httpfs', HTTPFS, defines=defines)
        matinee.until(lambda: self.asks('GET', '/', 'GETFILESTATUS', port=self.httpfs_port)[0] == 200, SECONDS_TO_START, 'HttpFS being ready')

    def takes_files(self):
        """Whether a file can be written: safe mode is over and the DataNode is known."""
        for process in self.processes.values():
            assert process.poll() is None, f'a process of Hadoop has ended; its logs are in {self.folder}'
        try:
            return self.write('/probe', b'x') == 201
        except OSError:
            return False

    def end(self, name):
        process = self.processes.pop(name)
        process.kill()
        process.wait()

    def close(self):
        for name in list(self.processes):
            self.end(name)

    # --- its files, by other code than matinee's ----------------------------------------------------

    def url(self, prefix='shows', httpfs=False, **options):
        more = '&'.join(f'{name}={value}' for name, value in {'user': USER, **options}.items())
        return f'hdfs://127.0.0.1:{self.httpfs_port if httpfs else self.port}/{prefix}?{more}'

    def asks(self, method, path, op, port=None, user=USER, body=None, **more):
        """One request of WebHDFS: (status, headers, body)."""
        query = urllib.parse.urlencode({'op': op, 'user.name': user, **more})
        connection = http.client.HTTPConnection('127.0.0.1', port or self.port, timeout=20)
        try:
            connection.request(method, f'/webhdfs/v1{urllib.parse.quote(path)}?{query}', body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except OSError:
            return 0, {}, b''
        finally:
            connection.close()

    def follow(self, method, location, body=None):
        url = urllib.parse.urlsplit(location)
        connection = http.client.HTTPConnection(url.netloc, timeout=20)
        try:
            connection.request(method, f'{url.path}?{url.query}', body)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def write(self, path, content):
        status, headers, _ = self.asks('PUT', path, 'CREATE', overwrite='true')
        return self.follow('PUT', headers['Location'], content)[0] if status == 307 else status

    def read(self, path):
        status, headers, body = self.asks('GET', path, 'OPEN')
        if status == 307:
            status, _, body = self.follow('GET', headers['Location'])
        return body if status == 200 else None

    def delegation_token(self, port):
        status, _, body = self.asks('GET', '/', 'GETDELEGATIONTOKEN', port=port)
        assert status == 200, body
        return json.loads(body)['Token']['urlString']

    def files(self, folder='/'):
        """{path: bytes} of every file below a folder."""
        status, _, body = self.asks('GET', folder, 'LISTSTATUS')
        if status == 404:
            return {}
        assert status == 200, body
        found = {}
        for entry in json.loads(body)['FileStatuses']['FileStatus']:
            path = f'{folder.rstrip("/")}/{entry["pathSuffix"]}'
            if entry['type'] == 'DIRECTORY':
                found.update(self.files(path))
            else:
                found[path] = entry['length']
        return found
