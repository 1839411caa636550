"""Names of PHP's settings that are special here. Source: access levels of ini_get_all(), PHP 8.2 and its extensions."""

from __future__ import annotations

# Only php.ini and an admin's directives change these (PHP_INI_SYSTEM): php-fpm itself would let
# php_value set them.
_SYSTEM = """
    allow_url_fopen allow_url_include apc.coredump_unmap apc.enable_cli apc.enabled apc.entries_hint apc.gc_ttl
    apc.mmap_file_mask apc.preload_path apc.serializer apc.shm_segments apc.shm_size apc.slam_defense apc.smart
    apc.ttl browscap cgi.check_shebang_line cgi.discard_path cgi.fix_pathinfo cgi.force_redirect cgi.nph
    cgi.redirect_status_env cgi.rfc2616_headers curl.cainfo disable_classes disable_functions doc_root enable_dl
    expose_php extension_dir fastcgi.error_header fastcgi.logging ffi.enable ffi.preload file_uploads hard_timeout
    ldap.max_links mail.force_extra_parameters mail.log mysqli.allow_local_infile mysqli.allow_persistent
    mysqli.local_infile_directory mysqli.max_links mysqli.max_persistent mysqli.rollback_on_cached_plink
    mysqlnd.collect_memory_statistics mysqlnd.debug mysqlnd.trace_alloc opcache.blacklist_filename
    opcache.enable_cli opcache.enable_file_override opcache.error_log opcache.file_cache
    opcache.file_cache_consistency_checks opcache.file_cache_only opcache.force_restart_timeout
    opcache.huge_code_pages opcache.interned_strings_buffer opcache.jit_buffer_size opcache.jit_hot_func
    opcache.jit_hot_loop opcache.jit_hot_return opcache.jit_max_exit_counters opcache.jit_max_root_traces
    opcache.jit_max_side_traces opcache.lockfile_path opcache.log_verbosity_level opcache.max_accelerated_files
    opcache.max_file_size opcache.max_wasted_percentage opcache.memory_consumption opcache.opt_debug_level
    opcache.optimization_level opcache.preferred_memory_model opcache.preload opcache.preload_user
    opcache.protect_memory opcache.record_warnings opcache.restrict_api opcache.save_comments opcache.use_cwd
    opcache.validate_permission opcache.validate_root pdo_mysql.default_socket pgsql.allow_persistent
    pgsql.auto_reset_persistent pgsql.max_links pgsql.max_persistent phar.cache_list realpath_cache_size
    realpath_cache_ttl sendmail_path sqlite3.extension_dir sys_temp_dir syslog.facility syslog.ident upload_tmp_dir
    user_dir user_ini.cache_ttl user_ini.filename xmlrpc_errors zend.signal_check
"""
SYSTEM = frozenset(_SYSTEM.split())

LOADS_CODE = frozenset(("extension", "zend_extension"))  # without effect in mod_php, but php-fpm would load a library
OF_MOD_PHP = frozenset(("engine", "last_modified", "xbithack"))  # mod_php's own, which php-fpm does not know
